#![doc = include_str!("index.md")]

// Tutorial.

#[doc = include_str!("first_steps.md")]
pub mod first_steps {}

// How-to.

#[doc = include_str!("authentication.md")]
pub mod authentication {}

pub mod recipes;

#[cfg(feature = "reqwest")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
#[doc = include_str!("reqwest.md")]
pub mod reqwest {}

#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
#[doc = include_str!("grpc.md")]
pub mod grpc {}

#[doc = include_str!("streaming.md")]
pub mod streaming {}

#[doc = include_str!("stores.md")]
#[doc = include_str!("fleet.svg")]
#[doc = ""]
#[doc = include_str!("fleet.md")]
pub mod stores {}

#[doc = include_str!("one_live_token.md")]
pub mod one_live_token {}

#[cfg(feature = "jwt")]
#[cfg_attr(docsrs, doc(cfg(feature = "jwt")))]
#[doc = include_str!("dpop.md")]
pub mod dpop {}

#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
#[doc = include_str!("configuration.md")]
pub mod configuration {}

#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("observing.md")]
pub mod observing {}

#[doc = include_str!("troubleshooting.md")]
pub mod troubleshooting {}

#[doc = include_str!("alf.md")]
pub mod alf {}

#[doc = include_str!("coming_from.md")]
pub mod coming_from {}

// Explanation.

#[doc = include_str!("renewal.md")]
pub mod renewal {}

#[doc = include_str!("performance.md")]
#[doc = ""]
#[doc = include_str!("stalls.svg")]
#[doc = ""]
#[doc = include_str!("scaling.svg")]
pub mod performance {}

#[doc = include_str!("threat_model.md")]
pub mod threat_model {}

// Reference.

#[doc = include_str!("guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("servers.md")]
pub mod servers {}
