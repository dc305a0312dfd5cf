use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use tower::BoxError;
use zeroize::Zeroizing;

use super::{ClientAuthentication, TokenRequestParts};
use crate::error::ConfigError;
use crate::secret::Secret;

/// An id and a secret, both of which are sent.
pub(super) struct ClientSecret {
    id: String,
    secret: Secret,
    way: Way,
}

/// Where they go.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Basic,
    BasicRaw,
    Post,
}

impl ClientSecret {
    pub(super) fn new(id: String, secret: Secret, way: Way) -> Self {
        Self { id, secret, way }
    }

    /// The `user-pass` of HTTP Basic (RFC 7617 section 2), with both form-encoded (RFC 6749 section 2.3.1).
    fn encoded(&self, secret: &str) -> Zeroizing<String> {
        let mut user_pass = self.room_for(secret);
        user_pass.extend(form_encoded(&self.id));
        user_pass.push(':');
        user_pass.extend(form_encoded(secret));
        user_pass
    }

    /// The same as they are.
    fn raw(&self, secret: &str) -> Result<Zeroizing<String>, ConfigError> {
        if self.id.contains(':') {
            return Err(ConfigError::new(
                "client id",
                "can not have a colon in it with client_secret_basic_raw",
            ));
        }
        let mut user_pass = self.room_for(secret);
        user_pass.push_str(&self.id);
        user_pass.push(':');
        user_pass.push_str(secret);
        Ok(user_pass)
    }

    /// For all of it: memory that is outgrown is not wiped.
    fn room_for(&self, secret: &str) -> Zeroizing<String> {
        Zeroizing::new(String::with_capacity(3 * (self.id.len() + secret.len()) + 1))
    }
}

impl ClientAuthentication for ClientSecret {
    fn method(&self) -> &str {
        match self.way {
            Way::Basic => "client_secret_basic",
            Way::BasicRaw => "client_secret_basic_raw",
            Way::Post => "client_secret_post",
        }
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
        let secret = self.secret.read(request.deadline()).await?;
        match self.way {
            Way::Basic => put_basic(request, &self.encoded(&secret)),
            Way::BasicRaw => put_basic(request, &self.raw(&secret)?),
            Way::Post => {
                request.set_parameter("client_id", self.id.as_str());
                request.set_parameter("client_secret", secret.as_str());
                Ok(())
            }
        }
    }
}

fn put_basic(request: &mut TokenRequestParts, user_pass: &str) -> Result<(), BoxError> {
    let mut value = Zeroizing::new(String::with_capacity(2 * user_pass.len() + 16));
    value.push_str("Basic ");
    BASE64_STANDARD.encode_string(user_pass, &mut value);
    let mut value = HeaderValue::try_from(value.as_str())?;
    value.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, value);
    Ok(())
}

/// RFC 6749 appendix B, but for the space: where `+` is read as itself, `%20` is a space all the same.
fn form_encoded(text: &str) -> impl Iterator<Item = &str> {
    form_urlencoded::byte_serialize(text.as_bytes()).map(|piece| match piece {
        // A plus sign itself is `%2B` here.
        "+" => "%20",
        piece => piece,
    })
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
