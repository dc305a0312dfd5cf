use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use tower::BoxError;
use zeroize::Zeroizing;

use super::{ClientAuthentication, TokenRequestParts};
use crate::error::ConfigError;
use crate::secret::Secret;

pub(super) struct ClientSecretBasic {
    id: String,
    secret: Secret,
    encoded: bool,
}

impl ClientSecretBasic {
    pub(super) fn encoded(id: String, secret: Secret) -> Self {
        Self { id, secret, encoded: true }
    }

    pub(super) fn raw(id: String, secret: Secret) -> Self {
        Self { id, secret, encoded: false }
    }

    fn user_pass(&self, secret: &str) -> Result<Zeroizing<String>, BoxError> {
        // With room for all of it: memory that is outgrown is not wiped.
        let room = 3 * (self.id.len() + secret.len()) + 1;
        let mut user_pass = Zeroizing::new(String::with_capacity(room));
        if self.encoded {
            user_pass.extend(form_encoded(&self.id));
            user_pass.push(':');
            user_pass.extend(form_encoded(secret));
        } else if self.id.contains(':') {
            return Err(ConfigError::new(
                "client id",
                "can not have a colon in it with client_secret_basic_raw",
            )
            .into());
        } else {
            user_pass.push_str(&self.id);
            user_pass.push(':');
            user_pass.push_str(secret);
        }
        Ok(user_pass)
    }
}

impl ClientAuthentication for ClientSecretBasic {
    fn method(&self) -> &str {
        if self.encoded { "client_secret_basic" } else { "client_secret_basic_raw" }
    }

    fn client_id(&self) -> Option<&str> {
        Some(&self.id)
    }

    fn identity(&self) -> Vec<u8> {
        self.secret.identity()
    }

    fn version(&self) -> u64 {
        self.secret.current_version()
    }

    async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
        let user_pass = self.user_pass(&self.secret.read().await?)?;
        let mut value = Zeroizing::new(String::with_capacity(2 * user_pass.len() + 16));
        value.push_str("Basic ");
        BASE64_STANDARD.encode_string(user_pass.as_bytes(), &mut value);
        let mut value = HeaderValue::try_from(value.as_str())?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
        Ok(())
    }
}

/// RFC 6749 appendix B, but for the space: where `+` is read as itself, `%20` is a space all the same.
fn form_encoded(text: &str) -> impl Iterator<Item = &str> {
    form_urlencoded::byte_serialize(text.as_bytes()).map(|piece| match piece {
        // A plus sign itself is `%2B` here.
        "+" => "%20",
        piece => piece,
    })
}

pub(super) struct ClientSecretPost {
    id: String,
    secret: Secret,
}

impl ClientSecretPost {
    pub(super) fn new(id: String, secret: Secret) -> Self {
        Self { id, secret }
    }
}

impl ClientAuthentication for ClientSecretPost {
    fn method(&self) -> &str {
        "client_secret_post"
    }

    fn client_id(&self) -> Option<&str> {
        Some(&self.id)
    }

    fn identity(&self) -> Vec<u8> {
        self.secret.identity()
    }

    fn version(&self) -> u64 {
        self.secret.current_version()
    }

    async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
        let secret = self.secret.read().await?;
        request.set_parameter("client_id", self.id.as_str());
        request.set_parameter("client_secret", secret.as_str());
        Ok(())
    }
}

pub(super) struct NoSecret {
    id: String,
}

impl NoSecret {
    pub(super) fn new(id: String) -> Self {
        Self { id }
    }
}

impl ClientAuthentication for NoSecret {
    fn method(&self) -> &str {
        "none"
    }

    fn client_id(&self) -> Option<&str> {
        Some(&self.id)
    }

    fn identity(&self) -> Vec<u8> {
        Vec::new()
    }

    async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
        request.set_parameter("client_id", self.id.as_str());
        Ok(())
    }
}
