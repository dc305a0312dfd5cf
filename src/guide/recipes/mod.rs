#![doc = include_str!("index.md")]

#[doc = include_str!("auth0.md")]
pub mod auth0 {}

#[doc = include_str!("keycloak.md")]
pub mod keycloak {}

#[cfg(feature = "jwt")]
#[cfg_attr(docsrs, doc(cfg(feature = "jwt")))]
#[doc = include_str!("okta.md")]
pub mod okta {}

#[doc = include_str!("entra_id.md")]
pub mod entra_id {}

#[doc = include_str!("cognito.md")]
pub mod cognito {}

#[cfg(feature = "jwt")]
#[cfg_attr(docsrs, doc(cfg(feature = "jwt")))]
#[doc = include_str!("google.md")]
pub mod google {}

#[doc = include_str!("hydra.md")]
pub mod hydra {}

#[cfg(feature = "jwt")]
#[cfg_attr(docsrs, doc(cfg(feature = "jwt")))]
#[doc = include_str!("git_forges.md")]
pub mod git_forges {}

#[doc = include_str!("workload_identity.md")]
pub mod workload_identity {}
