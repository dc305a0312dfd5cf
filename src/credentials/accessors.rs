//! Provides the getters of credentials.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use tracing::field::DisplayValue;

use super::Credentials;
use super::grant::{Grant, RefreshToken};
use super::server::{EndpointUri, IssuerUri, Server};
use crate::client_auth::{ClientAuth, ClientAuthentication};
use crate::protocol::dpop::BindingKey;
use crate::protocol::server_clock::ServerClocks;
use crate::secret::{self, IdentityDigest};
use crate::util::printable::{self, Printable};

impl Credentials {
    /// Returns the URI of the token endpoint.
    ///
    /// It is `None` for [named](Self::named) credentials, and for those
    /// [from an issuer](Self::from_issuer) until its metadata has been fetched. It changes if later
    /// metadata name another one.
    pub fn token_endpoint(&self) -> Option<Uri> {
        Some(self.endpoint()?.uri().clone())
    }

    /// Returns the issuer of the tokens, if the credentials come from its metadata.
    pub fn issuer(&self) -> Option<&str> {
        self.description.server.issuer()
    }

    /// Returns how the client authenticates.
    pub fn client_auth(&self) -> &ClientAuth {
        &self.description.auth
    }

    /// Returns the client id, if the authentication method knows it.
    pub fn client_id(&self) -> Option<&str> {
        self.description.auth.client_id()
    }

    /// Returns the [label](Self::label), or another text that names the credentials.
    ///
    /// Without a label, it is the name of [named](Self::named) credentials, the client id, or the
    /// authentication method.
    pub fn label_or_client_id(&self) -> &str {
        match (&self.description.label, &self.description.server) {
            (Some(label), _) => label,
            (None, Server::Custom(name)) => name,
            (None, _) => self.client_id().unwrap_or(self.description.auth.method()),
        }
    }

    /// Returns the names in the scope, in the order in which they were given.
    pub fn scope_names(&self) -> impl Iterator<Item = &str> {
        self.description.scope.iter().map(|name| &**name)
    }

    pub(crate) fn label_if_set(&self) -> Option<&str> {
        self.description.label.as_deref()
    }

    /// Returns the label for something that outlives the credentials.
    pub(crate) fn shared_label(&self) -> Option<Arc<str>> {
        self.description.label.clone()
    }

    /// Returns the label as a field of an event.
    ///
    /// The event has no such field if there is no label.
    pub(crate) fn label_field(&self) -> Option<DisplayValue<Printable<&str>>> {
        printable::field(self.label_if_set())
    }

    pub(crate) fn refresh_token(&self) -> Option<&RefreshToken> {
        self.description.grant.refresh_token()
    }

    /// Returns credentials for one token request with the current refresh token.
    pub(crate) fn with_current_refresh_token(self, refresh_token: &str) -> Self {
        let server_clocks = self.description.server_clocks.clone();
        let mut current = self.grant(Grant::current_refresh_token(refresh_token));
        // The refresh token changes with each request, and the clocks stay.
        Arc::make_mut(&mut current.description).server_clocks = server_clocks;
        current
    }

    /// Returns a different number whenever a secret has changed.
    ///
    /// A permanent error is remembered for one version.
    pub(crate) fn version(&self) -> u64 {
        let mut both = DefaultHasher::new();
        (self.description.auth.version(), self.description.grant.version()).hash(&mut both);
        both.finish()
    }

    /// Returns the version after a look at the files that it depends on.
    pub(crate) async fn current_version(&self) -> u64 {
        secret::version::current(|| self.version()).await
    }

    /// Returns the token endpoint, if it is known.
    ///
    /// It is `None` for named credentials, and until the metadata of the issuer has been fetched.
    pub(crate) fn endpoint(&self) -> Option<Arc<EndpointUri>> {
        self.description.server.endpoint()
    }

    /// Returns the issuer whose metadata names the token endpoint, if that has to be fetched.
    pub(crate) fn issuer_to_discover(&self) -> Option<&IssuerUri> {
        match &self.description.server {
            Server::Issuer(issuer) => Some(issuer),
            Server::TokenEndpoint(_) | Server::Custom(_) => None,
        }
    }

    /// Returns the server, which errors and events name.
    ///
    /// Its name is the origin of the token endpoint or issuer, or the name of a custom source.
    pub(crate) fn server(&self) -> &Server {
        &self.description.server
    }

    pub(crate) fn dpop_key(&self) -> Option<&dyn BindingKey> {
        self.description.dpop.as_deref()
    }

    /// Returns the clock offsets of the servers that these credentials are used with.
    pub(crate) fn server_clocks(&self) -> &ServerClocks {
        &self.description.server_clocks
    }

    /// Returns the lifetime of tokens whose response has no `expires_in`.
    pub(crate) fn lifetime_by_default(&self) -> Option<Duration> {
        self.description.default_expires_in
    }

    /// Returns a number that is the same for equal credentials in this process.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Returns the digest of the identity.
    ///
    /// It is the same for equal credentials on all machines.
    pub(crate) fn digest(&self) -> &IdentityDigest {
        &self.description.digest
    }
}
