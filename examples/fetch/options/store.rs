//! Options for the store that processes share.

use std::env;
use std::path::Path;

use super::Mistake;
use super::value::Value;
use crate::bounded;
use crate::store::{Keys, Store};

pub(super) const HELP: &str = "\
Store:
  --store URL                share tokens with other processes through
                             redis://[USER:PASSWORD@]HOST[:PORT], rediss:// (over TLS), or
                             memcached://HOST:PORT
  --store-password-file FILE the password of the store; by default, the environment variable
                             STORE_PASSWORD has it, unless the URL does
  --seal-key-file FILE       encrypt what is stored: lines of id:key, the newest first
";

const PASSWORD_VARIABLE: &str = "STORE_PASSWORD";

#[derive(Default)]
pub(super) struct Group {
    store: Option<Store>,
    password: Option<String>,
    seal_keys: Option<Keys>,
}

pub(crate) struct StoreOptions {
    pub(crate) store: Store,
    pub(crate) seal_keys: Option<Keys>,
}

impl Group {
    pub(super) fn take(&mut self, option: &str, value: &mut Value<'_>) -> Result<bool, Mistake> {
        match option {
            "store" => {
                let store = Store::parse(&value.text()?);
                self.store = Some(store.map_err(|what| value.mistake(what))?);
            }
            "store-password-file" => {
                let password = read_password(&value.path()?);
                self.password = Some(password.map_err(|what| value.mistake(&what))?);
            }
            "seal-key-file" => {
                let keys = Keys::read(&value.path()?);
                self.seal_keys = Some(keys.map_err(|what| value.mistake(&what))?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn finish(self) -> Result<Option<StoreOptions>, Mistake> {
        let Some(store) = self.store else {
            return match (self.password, self.seal_keys) {
                (Some(_), _) => Err(Mistake::new("--store-password-file: needs --store")),
                (None, Some(_)) => Err(Mistake::new("--seal-key-file: needs --store")),
                (None, None) => Ok(None),
            };
        };
        let store = match self.password {
            Some(_) if store.has_password() => {
                return Err(Mistake::new(
                    "--store-password-file: not together with a password in --store",
                ));
            }
            Some(_) if !store.takes_password() => {
                return Err(Mistake::new("--store-password-file: memcached has no passwords"));
            }
            Some(password) => store.with_password(&password),
            None if store.takes_password() && !store.has_password() => {
                match env::var_os(PASSWORD_VARIABLE).map(|password| password.into_string()) {
                    Some(Ok(password)) if !password.is_empty() => store.with_password(&password),
                    Some(Err(_)) => {
                        return Err(Mistake(format!("{PASSWORD_VARIABLE}: is not UTF-8")));
                    }
                    _ => Ok(store),
                }
            }
            None => Ok(store),
        };
        let store = store.map_err(|what| Mistake(format!("--store: {what}")))?;
        Ok(Some(StoreOptions { store, seal_keys: self.seal_keys }))
    }
}

/// Reads a password, without a byte order mark and the last line break.
fn read_password(path: &Path) -> Result<String, String> {
    let text = bounded::file(path).map_err(|error| error.to_string())?;
    let text = String::from_utf8(text).map_err(|_| "is not UTF-8".to_owned())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text.to_owned()) }
}
