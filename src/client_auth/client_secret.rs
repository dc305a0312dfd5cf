use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use tower::BoxError;
use zeroize::Zeroizing;

use super::{ClientAuthentication, TokenRequestParts};
use crate::error::ConfigError;
use crate::secret::{Identity, Secret};

/// The name of the method that is `client_secret_basic` or `client_secret_post`.
pub(crate) const CLIENT_SECRET: &str = "client_secret";

/// Sends a client id and a client secret.
pub(super) struct ClientSecret {
    id: String,
    secret: Secret,
    placement: SecretPlacement,
}

/// The place of the id and the secret in the request.
#[derive(Clone, Copy)]
pub(super) enum SecretPlacement {
    /// The place that the server's metadata list.
    ///
    /// It is the form if they list `client_secret_post` and not HTTP Basic, and otherwise HTTP
    /// Basic.
    Listed,
    Basic,
    BasicRaw,
    Post,
}

impl ClientSecret {
    pub(super) fn new(id: String, secret: Secret, placement: SecretPlacement) -> Self {
        Self { id, secret, placement }
    }

    /// Returns the form-encoded `user-pass` of HTTP Basic (RFC 7617 section 2, RFC 6749 section
    /// 2.3.1).
    fn encoded(&self, secret: &str) -> Zeroizing<String> {
        let mut user_pass = self.buffer_for(secret);
        user_pass.extend(form_encoded(&self.id));
        user_pass.push(':');
        user_pass.extend(form_encoded(secret));
        user_pass
    }

    /// Returns the `user-pass` of HTTP Basic, with the id and the secret unchanged.
    fn raw(&self, secret: &str) -> Result<Zeroizing<String>, ConfigError> {
        self.check_raw_id()?;
        let mut user_pass = self.buffer_for(secret);
        user_pass.push_str(&self.id);
        user_pass.push(':');
        user_pass.push_str(secret);
        Ok(user_pass)
    }

    fn check_raw_id(&self) -> Result<(), ConfigError> {
        const REASON: &str = "must not contain a colon with client_secret_basic_raw";
        if self.id.contains(':') { Err(ConfigError::new("client id", REASON)) } else { Ok(()) }
    }

    /// Creates a buffer that does not grow.
    ///
    /// A buffer that grows leaves copies behind that are not wiped.
    fn buffer_for(&self, secret: &str) -> Zeroizing<String> {
        Zeroizing::new(String::with_capacity(3 * (self.id.len() + secret.len()) + 1))
    }
}

impl ClientAuthentication for ClientSecret {
    fn method(&self) -> &str {
        match self.placement {
            SecretPlacement::Listed => CLIENT_SECRET,
            SecretPlacement::Basic => "client_secret_basic",
            SecretPlacement::BasicRaw => "client_secret_basic_raw",
            SecretPlacement::Post => "client_secret_post",
        }
    }

    fn client_id(&self) -> Option<&str> {
        Some(&self.id)
    }

    fn identify(&self, identity: &mut Identity) {
        identity.secret(&self.secret);
    }

    fn version(&self) -> u64 {
        self.secret.current_version()
    }

    fn check(&self) -> Result<(), ConfigError> {
        if let SecretPlacement::BasicRaw = self.placement {
            self.check_raw_id()?;
        }
        self.secret.check("client secret")
    }

    async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
        let secret = self.secret.read(request.deadline()).await?;
        let placement = match self.placement {
            SecretPlacement::Listed if request.takes_secret_in_form() => SecretPlacement::Post,
            SecretPlacement::Listed => SecretPlacement::Basic,
            placement => placement,
        };
        match placement {
            SecretPlacement::Listed | SecretPlacement::Basic => {
                set_basic(request, &self.encoded(&secret))
            }
            SecretPlacement::BasicRaw => set_basic(request, &self.raw(&secret)?),
            SecretPlacement::Post => {
                request.set_parameter("client_id", self.id.as_str());
                request.set_parameter("client_secret", secret.as_str());
                Ok(())
            }
        }
    }
}

fn set_basic(request: &mut TokenRequestParts, user_pass: &str) -> Result<(), BoxError> {
    let mut value = Zeroizing::new(String::with_capacity(2 * user_pass.len() + 16));
    value.push_str("Basic ");
    BASE64_STANDARD.encode_string(user_pass, &mut value);
    let mut value = HeaderValue::try_from(value.as_str())?;
    value.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, value);
    Ok(())
}

/// Encodes a text by RFC 6749 appendix B, with `%20` for a space.
///
/// All form decoders read `%20` as a space, and some servers do not read `+` as one.
fn form_encoded(text: &str) -> impl Iterator<Item = &str> {
    form_urlencoded::byte_serialize(text.as_bytes()).map(|piece| match piece {
        // A `+` can only stand for a space here, because a plus sign is encoded as `%2B`.
        "+" => "%20",
        piece => piece,
    })
}
