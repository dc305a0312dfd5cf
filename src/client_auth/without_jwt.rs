//! Names the methods that need the feature `jwt`, in builds without it.
//!
//! They cannot be called. Their bound makes the compiler name the feature. Without them, the
//! compiler would say that the method does not exist.

use super::ClientAuth;

/// Bounds a type parameter so that no type satisfies it.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "this method needs the feature `jwt` of `tower-oauth2`",
    label = "enable the feature `jwt`, and `ring` or `aws-lc-rs`",
    note = "in Cargo.toml: tower-oauth2 = {{ version = \"0.1\", features = [\"jwt\", \"ring\"] }}"
)]
pub trait NeedsJwt {
    #[doc(hidden)]
    fn never<T>(self) -> T;
}

impl ClientAuth {
    #[doc(hidden)]
    pub fn private_key_jwt<J: NeedsJwt>(_client_id: impl Into<String>, jwt: J) -> Self {
        jwt.never()
    }

    #[doc(hidden)]
    pub fn client_secret_jwt<J: NeedsJwt>(_client_id: impl Into<String>, secret: J) -> Self {
        secret.never()
    }
}
