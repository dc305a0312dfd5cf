#![doc = include_str!("index.md")]

// Rustdoc themes reach a picture only inside of the page. So a page with a picture in the middle is
// two files.

// Tutorials.

#[doc = include_str!("first_token.md")]
pub mod first_token {}

#[doc = include_str!("first_client.md")]
pub mod first_client {}

// How-to pages.

#[cfg(feature = "reqwest")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
#[doc = include_str!("reqwest.md")]
pub mod reqwest {}

#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
#[doc = include_str!("grpc.md")]
pub mod grpc {}

#[doc = include_str!("application.md")]
#[doc = ""]
#[doc = include_str!("layers.svg")]
#[doc = ""]
#[doc = include_str!("application_details.md")]
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

#[doc = include_str!("processes.md")]
pub mod processes {}

#[doc = include_str!("one_live_token.md")]
pub mod one_live_token {}

#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
#[doc = include_str!("configuration.md")]
pub mod configuration {}

#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("monitoring.md")]
pub mod monitoring {}

#[doc = include_str!("tracing.md")]
pub mod tracing {}

pub mod recipes;

#[doc = include_str!("troubleshooting.md")]
pub mod troubleshooting {}

// Explanations.

#[doc = include_str!("renewal.md")]
#[doc = ""]
#[doc = include_str!("token_life.svg")]
#[doc = ""]
#[doc = include_str!("renewal_details.md")]
pub mod renewal {}

#[doc = include_str!("replay.md")]
pub mod replay {}

#[doc = include_str!("sharing.md")]
#[doc = ""]
#[doc = include_str!("fleet.svg")]
pub mod sharing {}

#[doc = include_str!("no_flood.md")]
pub mod no_flood {}

#[doc = include_str!("threat_model.md")]
pub mod threat_model {}

#[doc = include_str!("performance.md")]
#[doc = ""]
#[doc = include_str!("stalls.svg")]
#[doc = ""]
#[doc = include_str!("scaling.svg")]
pub mod performance {}

// Reference.

#[doc = include_str!("guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("errors.md")]
pub mod errors {}

#[doc = include_str!("metrics.md")]
pub mod metrics {}

#[doc = include_str!("events.md")]
pub mod events {}

#[doc = include_str!("defaults.md")]
pub mod defaults {}

#[doc = include_str!("servers.md")]
pub mod servers {}

#[doc = include_str!("alf.md")]
pub mod alf {}

#[doc = include_str!("coming_from.md")]
pub mod coming_from {}
