//! Reads the fields of a client table, with their names and types.

use std::time::Duration;

use zeroize::Zeroizing;

use super::source::Source;
use super::value::Value;
use crate::error::ConfigError;

/// The name of the whole client table in errors.
const CLIENT_TABLE: &str = "client table";

const CLIENT_FIELDS: &[&str] = &[
    "token_endpoint",
    "issuer",
    "client_id",
    "token_endpoint_auth_method",
    "grant_type",
    "scope",
    "audience",
    "resource",
    "authorization_details",
    "parameters",
    "default_expires_in",
    "label",
    "origins",
];

/// The fields that belong to some methods of client authentication.
const AUTH_FIELDS: &[&str] = &[
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "client_certificate",
    "private_key",
    "kid",
    "token_endpoint_auth_signing_alg",
];

/// The fields that belong to some grants.
const GRANT_FIELDS: &[&str] = &[
    "assertion",
    "refresh_token",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "requested_token_type",
];

/// The fields of a client table that have not been read yet.
pub(super) struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    /// Checks the names of all fields, and leaves out those without a value.
    pub(super) fn new(value: Value) -> Result<Self, ConfigError> {
        let Value::Table(table) = value else {
            return Err(ConfigError::new(CLIENT_TABLE, "must be a table of fields"));
        };
        let mut fields = Vec::with_capacity(table.len());
        for (name, value) in table {
            let Some(known) = known_field(&name) else {
                let error = ConfigError::new(CLIENT_TABLE, "has an unknown field");
                return Err(error.with_value(name));
            };
            if fields.iter().any(|(earlier, _)| *earlier == known) {
                return Err(ConfigError::new(known, "is set twice"));
            }
            fields.push((known, value));
        }
        fields.retain(|(_, value)| !matches!(value, Value::Null));
        Ok(Self(fields))
    }

    fn take(&mut self, field: &'static str) -> Option<Value> {
        let position = self.0.iter().position(|(name, _)| *name == field)?;
        Some(self.0.swap_remove(position).1)
    }

    pub(super) fn text(&mut self, field: &'static str) -> Result<Option<String>, ConfigError> {
        self.take(field).map(|value| text(field, value)).transpose()
    }

    pub(super) fn required_text(&mut self, field: &'static str) -> Result<String, ConfigError> {
        self.text(field)?.ok_or(ConfigError::new(field, "is missing"))
    }

    /// Takes a text or a list of texts.
    pub(super) fn texts(&mut self, field: &'static str) -> Result<Vec<String>, ConfigError> {
        match self.take(field) {
            None => Ok(Vec::new()),
            Some(Value::List(list)) => list.into_iter().map(|item| text(field, item)).collect(),
            Some(value) => Ok(vec![text(field, value)?]),
        }
    }

    /// Takes the list of origins, which may be one text.
    ///
    /// An environment has no lists.
    pub(super) fn origins(&mut self) -> Result<Vec<String>, ConfigError> {
        const FIELD: &str = "origins";
        match self.take(FIELD) {
            None => Err(ConfigError::new(FIELD, "is missing")),
            Some(Value::List(list)) => list.into_iter().map(|item| text(FIELD, item)).collect(),
            Some(value) => {
                let separated = text(FIELD, value)?;
                let origins = separated.split(|c: char| c == ',' || c.is_whitespace());
                Ok(origins.filter(|origin| !origin.is_empty()).map(str::to_owned).collect())
            }
        }
    }

    pub(super) fn source(&mut self, field: &'static str) -> Result<Option<Source>, ConfigError> {
        self.take(field).map(|value| Source::new(field, value)).transpose()
    }

    /// Takes a number of seconds, which is a text if it comes from the environment.
    pub(super) fn seconds(&mut self, field: &'static str) -> Result<Option<Duration>, ConfigError> {
        let seconds = match self.take(field) {
            None => return Ok(None),
            Some(Value::Integer(seconds)) => u64::try_from(seconds).ok(),
            Some(Value::Text(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        let seconds =
            seconds.ok_or(ConfigError::new(field, "must be a whole number of seconds"))?;
        Ok(Some(Duration::from_secs(seconds)))
    }

    /// Takes a list of tables, or its JSON text because an environment has no tables.
    pub(super) fn authorization_details(
        &mut self,
    ) -> Result<Option<serde_json::Value>, ConfigError> {
        const FIELD: &str = "authorization_details";
        let json = match self.take(FIELD) {
            None => return Ok(None),
            Some(Value::Text(text)) => {
                serde_json::from_str(&text).map_err(|_| "must be a JSON array of objects")
            }
            Some(value) => value.into_json(),
        };
        json.map(Some).map_err(|problem| ConfigError::new(FIELD, problem))
    }

    /// Takes a table of texts. Numbers and truth values count as their texts.
    pub(super) fn parameters(&mut self) -> Result<Vec<(String, Source)>, ConfigError> {
        const FIELD: &str = "parameters";
        let table = match self.take(FIELD) {
            None => return Ok(Vec::new()),
            Some(Value::Table(table)) => table,
            Some(_) => return Err(ConfigError::new(FIELD, "must be a table of texts")),
        };
        let mut parameters: Vec<(String, Source)> = Vec::with_capacity(table.len());
        for (name, value) in table {
            let fault = if known_field(&name).is_some() {
                Some("has a parameter with a field of its own in the client table")
            } else if parameters.iter().any(|(earlier, _)| *earlier == name) {
                Some("has a parameter twice")
            } else {
                None
            };
            let invalid = |problem| ConfigError::new(FIELD, problem).with_value(&name);
            if let Some(fault) = fault {
                return Err(invalid(fault));
            }
            let source = match value {
                Value::Null => continue,
                Value::Bool(value) => Source::Text(Zeroizing::new(value.to_string())),
                Value::Integer(value) => Source::Text(Zeroizing::new(value.to_string())),
                value => Source::new(FIELD, value).map_err(|_| {
                    invalid("needs a text, { file = \"…\" } or { env = \"…\" } for a parameter")
                })?,
            };
            parameters.push((name, source));
        }
        Ok(parameters)
    }

    /// Returns an error if a field is left that is not used.
    ///
    /// The field belongs to another method or grant.
    pub(super) fn finish(self, method: &str, grant_type: &str) -> Result<(), ConfigError> {
        let Some((field, _)) = self.0.first() else {
            return Ok(());
        };
        Err(if GRANT_FIELDS.contains(field) {
            ConfigError::new(field, "does not go with grant_type").with_value(grant_type)
        } else {
            ConfigError::new(field, "does not go with token_endpoint_auth_method")
                .with_value(method)
        })
    }
}

fn known_field(name: &str) -> Option<&'static str> {
    let mut all = [CLIENT_FIELDS, AUTH_FIELDS, GRANT_FIELDS].into_iter().flatten();
    all.find(|known| **known == name).copied()
}

fn text(field: &'static str, value: Value) -> Result<String, ConfigError> {
    match value {
        Value::Text(mut text) => Ok(std::mem::take(&mut *text)),
        Value::Integer(_) | Value::Fraction(_) | Value::Bool(_) | Value::Other => {
            Err(ConfigError::new(field, "must be a text: put it into quotes"))
        }
        Value::Null | Value::List(_) | Value::Table(_) => {
            Err(ConfigError::new(field, "must be a text"))
        }
    }
}
