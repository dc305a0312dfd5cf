#![doc = include_str!("index.md")]

// Tutorial.

#[doc = include_str!("first_token.md")]
pub mod first_token {}

#[doc = include_str!("first_client.md")]
pub mod first_client {}

// How-to.

#[cfg(feature = "reqwest")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
#[doc = include_str!("reqwest.md")]
pub mod reqwest {}

#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
#[doc = include_str!("grpc.md")]
pub mod grpc {}

#[doc = include_str!("application.md")]
pub mod application {}

#[doc = include_str!("tenants.md")]
pub mod tenants {}

#[doc = include_str!("authentication.md")]
pub mod authentication {}

#[doc = include_str!("secrets.md")]
pub mod secrets {}

#[doc = include_str!("keys.md")]
pub mod keys {}

#[cfg(feature = "jwt")]
#[cfg_attr(docsrs, doc(cfg(feature = "jwt")))]
#[doc = include_str!("dpop.md")]
pub mod dpop {}

#[doc = include_str!("streaming.md")]
pub mod streaming {}

#[doc = include_str!("other_connections.md")]
pub mod other_connections {}

#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
#[doc = include_str!("configuration.md")]
pub mod configuration {}

#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
#[doc = include_str!("testing.md")]
pub mod testing {}

pub mod recipes;

#[doc = include_str!("stores.md")]
#[doc = include_str!("fleet.svg")]
#[doc = ""]
#[doc = include_str!("fleet.md")]
pub mod stores {}

#[doc = include_str!("one_live_token.md")]
pub mod one_live_token {}

#[doc = include_str!("observing.md")]
pub mod observing {}

#[doc = include_str!("troubleshooting.md")]
pub mod troubleshooting {}

// Explanation.

#[doc = include_str!("renewal.md")]
pub mod renewal {}

#[doc = include_str!("threat_model.md")]
pub mod threat_model {}

#[doc = include_str!("performance.md")]
#[doc = include_str!("scaling.svg")]
#[doc = ""]
#[doc = include_str!("stalls.svg")]
pub mod performance {}

// Reference.

#[doc = include_str!("guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("servers.md")]
pub mod servers {}

#[doc = include_str!("alf.md")]
pub mod alf {}

#[doc = include_str!("coming_from.md")]
pub mod coming_from {}
