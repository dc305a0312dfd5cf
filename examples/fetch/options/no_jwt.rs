//! In the place of what needs a feature that is not there.

use std::path::{Path, PathBuf};

use tower_oauth2::{ClientAuth, Credentials, Secret};

use super::Mistake;
use super::value::Value;

#[derive(Clone)]
pub(crate) enum Binding {}

impl Binding {
    pub(super) fn to(_: Option<&Path>) -> Result<Self, String> {
        Err("needs `cargo run --features jwt,ring`".to_owned())
    }

    pub(super) fn of(&self, _: Credentials) -> Credentials {
        match *self {}
    }
}

#[derive(Default)]
pub(super) struct Group {
    pub(super) key: Option<PathBuf>,
}

impl Group {
    #[allow(clippy::unused_self, reason = "as in its other form")]
    pub(super) fn take(&mut self, option: &str, value: &mut Value<'_>) -> Result<bool, Mistake> {
        match option {
            "kid" | "alg" | "assertion-audience" => {
                Err(value.mistake("needs `cargo run --features jwt,ring`"))
            }
            _ => Ok(false),
        }
    }

    pub(super) fn is_used(&self) -> bool {
        false
    }

    pub(super) fn client_secret_jwt(self, _: String, _: Secret) -> Result<ClientAuth, Mistake> {
        Err(Mistake::new("--auth: this method needs `cargo run --features jwt,ring`"))
    }

    pub(super) fn private_key_jwt(self, _: String) -> Result<ClientAuth, Mistake> {
        Err(Mistake::new("--auth: this method needs `cargo run --features jwt,ring`"))
    }
}
