//! Reports options that need the feature `jwt`.

use std::iter;
use std::path::{Path, PathBuf};

use tower_oauth2::{ClientAuth, Credentials, Secret};

use super::Mistake;
use super::value::Value;

const NEEDS_JWT: &str = "needs `cargo run --features jwt,ring`";

#[derive(Clone)]
pub(crate) enum Binding {}

impl Binding {
    pub(super) fn to(_: Option<&Path>) -> Result<Self, String> {
        Err(NEEDS_JWT.to_owned())
    }

    pub(super) fn add_to(self, _: Credentials) -> Credentials {
        match self {}
    }
}

#[derive(Default)]
pub(super) struct JwtGroup;

#[allow(clippy::unused_self, reason = "the signatures are those of the other form")]
impl JwtGroup {
    pub(super) fn take(&mut self, option: &str, value: &mut Value<'_>) -> Result<bool, Mistake> {
        match option {
            "kid" | "alg" | "claims" | "typ" | "assertion-audience" => {
                Err(value.mistake(NEEDS_JWT))
            }
            _ => Ok(false),
        }
    }

    pub(super) fn used(&self) -> impl Iterator<Item = &'static str> {
        iter::empty()
    }

    pub(super) fn needs_issuer(&self) -> bool {
        false
    }

    pub(super) fn client_secret_jwt(self, _: String, _: Secret) -> Result<ClientAuth, Mistake> {
        Err(Mistake(format!("--auth: this method {NEEDS_JWT}")))
    }

    pub(super) fn private_key_jwt(
        self,
        _: String,
        _: Option<PathBuf>,
    ) -> Result<ClientAuth, Mistake> {
        Err(Mistake(format!("--auth: this method {NEEDS_JWT}")))
    }
}
