//! Reads secrets from texts, files and environment variables.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Fault;
use super::value::Value;
use crate::error::ConfigError;
use crate::secret::Secret;
use crate::util::byte_order_mark;

/// The largest file that is read while a client table is read.
const MAX_FILE: u64 = 1024 * 1024;

/// The place of a secret. It has no `Debug`, because a text is the secret itself.
pub(super) enum Source {
    Text(Zeroizing<String>),
    File(PathBuf),
    Env(String),
}

impl Source {
    /// Reads a text, `{ file = "…" }` or `{ env = "…" }`.
    ///
    /// Errors quote nothing, because every part of the value may be the secret.
    pub(super) fn new(field: &'static str, value: Value) -> Result<Self, ConfigError> {
        let table = match value {
            Value::Text(text) => return Ok(Self::Text(text)),
            Value::Table(table) => table,
            Value::Integer(_) | Value::Fraction(_) | Value::Bool(_) | Value::Other => {
                return Err(ConfigError::new(field, "must be a text: put it into quotes"));
            }
            Value::Null | Value::List(_) => return Err(ConfigError::new(field, EXPECTED)),
        };
        let mut place = None;
        for (name, value) in table {
            let Value::Text(mut text) = value else {
                return Err(ConfigError::new(field, EXPECTED));
            };
            if text.is_empty() {
                return Err(ConfigError::new(field, "needs a name in `file` or `env`"));
            }
            let text = std::mem::take(&mut *text);
            let found = match &*name {
                "file" => Self::File(text.into()),
                "env" => Self::Env(text),
                _ => return Err(ConfigError::new(field, EXPECTED)),
            };
            if place.replace(found).is_some() {
                return Err(ConfigError::new(field, "must have one of `file` and `env`"));
            }
        }
        place.ok_or(ConfigError::new(field, EXPECTED))
    }

    /// Returns the kind of fault of an invalid value.
    ///
    /// Only a text is part of the configuration.
    pub(super) fn fault(&self) -> fn(ConfigError) -> Fault {
        match self {
            Self::Text(_) => Fault::Invalid,
            Self::File(_) | Self::Env(_) => Fault::Unavailable,
        }
    }

    /// Creates the secret, and reads an environment variable but not a file.
    pub(super) fn secret(self, field: &'static str) -> Result<Secret, Fault> {
        match self {
            Self::Text(mut text) => {
                let secret = Secret::from(std::mem::take(&mut *text));
                secret.check(field)?;
                Ok(secret)
            }
            Self::File(path) => Ok(Secret::file(path)),
            Self::Env(name) => {
                Secret::env(name).map_err(|error| Fault::Unavailable(error.within(field)))
            }
        }
    }

    /// Reads a text now, without line breaks at the end of a file.
    pub(super) fn read(self, field: &'static str) -> Result<Zeroizing<String>, Fault> {
        let Self::File(path) = self else {
            let secret = self.secret(field)?;
            return Ok(Zeroizing::new(secret.text().unwrap_or_default().to_owned()));
        };
        let content = read_file(field, &path)?;
        let invalid = |problem| {
            Fault::Unavailable(ConfigError::new(field, problem).with_value(path.display()))
        };
        let text = std::str::from_utf8(byte_order_mark::skip(&content))
            .map_err(|_| invalid("is in a file that is not UTF-8"))?
            .trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            return Err(invalid("is in an empty file"));
        }
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// Reads a key or a certificate now, which may be binary in a file.
    pub(super) fn content(self, field: &'static str) -> Result<Zeroizing<Vec<u8>>, Fault> {
        match self {
            Self::Text(text) => Ok(Zeroizing::new(text.as_bytes().to_vec())),
            Self::File(path) => read_file(field, &path),
            Self::Env(name) => match std::env::var(&name) {
                Ok(text) => Ok(Zeroizing::new(text.into_bytes())),
                Err(_) => {
                    let problem = "is in an environment variable that is not set, or not UTF-8";
                    let error = ConfigError::new(field, problem);
                    Err(Fault::Unavailable(error.with_value(name)))
                }
            },
        }
    }
}

const EXPECTED: &str = "must be a text, { file = \"…\" } or { env = \"…\" }";

fn read_file(field: &'static str, path: &Path) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let invalid =
        |problem| Fault::Unavailable(ConfigError::new(field, problem).with_value(path.display()));
    match std::fs::metadata(path) {
        // A pipe would block this thread.
        Ok(found) if !found.is_file() => Err(invalid("is not in a regular file")),
        Ok(found) if found.len() > MAX_FILE => Err(invalid("is in a file larger than 1 MiB")),
        Ok(_) => match std::fs::read(path) {
            Ok(content) => Ok(Zeroizing::new(content)),
            Err(_) => Err(invalid("is in a file that cannot be read")),
        },
        Err(_) => Err(invalid("is in a file that cannot be read")),
    }
}
