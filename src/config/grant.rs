//! Reads the grant from the fields of a client table.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::Fault;
use super::fields::Fields;
use super::source::Source;
use crate::credentials::grant::{
    CLIENT_CREDENTIALS, Grant, JwtBearer, REFRESH_TOKEN, RefreshToken, TokenExchange, jwt_bearer,
    token_exchange,
};
use crate::error::ConfigError;

const GRANT_TYPE: &str = "grant_type";
const ASSERTION: &str = "assertion";
const SUBJECT_TOKEN: &str = "subject_token";
const ACTOR_TOKEN: &str = "actor_token";

/// A grant, with the fields that it uses.
pub(super) enum GrantFields {
    ClientCredentials,
    RefreshToken(Source),
    JwtBearer(Source),
    TokenExchange {
        subject: (Source, String),
        actor: Option<(Source, String)>,
        requested_token_type: Option<String>,
    },
    Custom(String),
}

impl GrantFields {
    /// Takes the fields of the grant. Returns its type too, for errors.
    pub(super) fn take(fields: &mut Fields) -> Result<(Self, String), ConfigError> {
        let grant_type = fields.text(GRANT_TYPE)?.unwrap_or_else(|| CLIENT_CREDENTIALS.to_owned());
        let needed =
            |field| ConfigError::new(field, "is needed with grant_type").with_value(&grant_type);
        let grant = match &*grant_type {
            CLIENT_CREDENTIALS => Self::ClientCredentials,
            REFRESH_TOKEN => Self::RefreshToken(
                fields.source(REFRESH_TOKEN)?.ok_or_else(|| needed(REFRESH_TOKEN))?,
            ),
            jwt_bearer::GRANT_TYPE => {
                Self::JwtBearer(fields.source(ASSERTION)?.ok_or_else(|| needed(ASSERTION))?)
            }
            token_exchange::GRANT_TYPE => Self::TokenExchange {
                subject: token(fields, SUBJECT_TOKEN, "subject_token_type")?
                    .ok_or_else(|| needed(SUBJECT_TOKEN))?,
                actor: token(fields, ACTOR_TOKEN, "actor_token_type")?,
                requested_token_type: fields.text("requested_token_type")?,
            },
            "" => return Err(ConfigError::new(GRANT_TYPE, "is empty")),
            "jwt-bearer" | "jwt_bearer" | "token-exchange" | "token_exchange" => {
                let problem = "must begin with urn:ietf:params:oauth:grant-type:";
                return Err(ConfigError::new(GRANT_TYPE, problem).with_value(grant_type));
            }
            _ => Self::Custom(grant_type.clone()),
        };
        Ok((grant, grant_type))
    }

    pub(super) fn build(self) -> Result<Grant, Fault> {
        Ok(match self {
            Self::ClientCredentials => Grant::client_credentials(),
            Self::RefreshToken(source) => refresh_token(&source.read(REFRESH_TOKEN)?).into(),
            Self::JwtBearer(assertion) => JwtBearer::assertion(assertion.secret(ASSERTION)?).into(),
            Self::TokenExchange { subject: (token, token_type), actor, requested_token_type } => {
                let mut grant = TokenExchange::new(token.secret(SUBJECT_TOKEN)?, token_type);
                if let Some((token, token_type)) = actor {
                    grant = grant.actor(token.secret(ACTOR_TOKEN)?, token_type);
                }
                if let Some(token_type) = requested_token_type {
                    grant = grant.requested_token_type(token_type);
                }
                grant.into()
            }
            Self::Custom(grant_type) => Grant::custom(grant_type),
        })
    }
}

/// Takes a token and its type, which need each other (RFC 8693 section 2.1).
fn token(
    fields: &mut Fields,
    token: &'static str,
    token_type: &'static str,
) -> Result<Option<(Source, String)>, ConfigError> {
    match (fields.source(token)?, fields.text(token_type)?) {
        (None, None) => Ok(None),
        (Some(_), Some(kind)) if kind.is_empty() => Err(ConfigError::new(token_type, "is empty")),
        (Some(source), Some(kind)) => Ok(Some((source, kind))),
        (Some(_), None) => Err(ConfigError::new(token_type, "is needed with").with_value(token)),
        (None, Some(_)) => Err(ConfigError::new(token, "is needed with").with_value(token_type)),
    }
}

/// Creates a grant whose name changes with the text.
///
/// So a new text gets another slot.
fn refresh_token(text: &str) -> RefreshToken {
    let digest = Sha256::digest(text);
    let mut name = String::from("configured ");
    for byte in &digest[..8] {
        let _ = write!(name, "{byte:02x}");
    }
    RefreshToken::in_memory(name, text)
}
