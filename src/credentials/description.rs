//! Holds the shared part of credentials, and computes its digest.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use zeroize::Zeroizing;

use super::grant::Grant;
use super::server::Server;
use crate::client_auth::ClientAuth;
use crate::protocol::dpop::BindingKey;
use crate::protocol::server_clock::ServerClocks;
use crate::secret::{Identity, IdentityDigest};

/// Separates these digests from those of other programs.
const DOMAIN: &str = "tower-oauth2 credentials";

/// Hashes digests to fingerprints.
///
/// Its key is random, so that tenants cannot choose credentials that collide.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

#[derive(Clone)]
pub(super) struct Description {
    pub(super) server: Server,
    pub(super) auth: ClientAuth,
    pub(super) grant: Grant,
    pub(super) scope: Vec<Box<str>>,
    pub(super) audiences: Vec<Box<str>>,
    pub(super) resources: Vec<Box<str>>,
    /// A JSON text.
    pub(super) authorization_details: Option<Box<str>>,
    pub(super) parameters: Vec<(Box<str>, Zeroizing<String>)>,
    pub(super) default_expires_in: Option<Duration>,
    pub(super) dpop: Option<Arc<dyn BindingKey>>,
    pub(super) label: Option<Arc<str>>,
    /// The clock offsets, which are not part of the identity. Other credentials never share them.
    pub(super) server_clocks: ServerClocks,
    /// The digests of the client authentication and the grant, which other edits do not change.
    auth_digest: IdentityDigest,
    grant_digest: IdentityDigest,
    pub(super) digest: IdentityDigest,
}

impl Description {
    pub(super) fn new(server: Server, auth: ClientAuth) -> Self {
        let grant = Grant::client_credentials();
        Self {
            auth_digest: digest_of(|identity| _ = identity.client_auth(&auth)),
            grant_digest: digest_of(|identity| grant.identify(identity)),
            server,
            auth,
            grant,
            scope: Vec::new(),
            audiences: Vec::new(),
            resources: Vec::new(),
            authorization_details: None,
            parameters: Vec::new(),
            default_expires_in: None,
            dpop: None,
            label: None,
            server_clocks: ServerClocks::default(),
            digest: IdentityDigest::default(),
        }
    }

    pub(super) fn set_grant(&mut self, grant: Grant) {
        self.grant_digest = digest_of(|identity| grant.identify(identity));
        self.grant = grant;
    }

    /// Computes the digest, and returns its fingerprint.
    pub(super) fn update_digest(&mut self) -> u64 {
        self.digest = digest_of(|identity| self.identify(identity));
        HASHER.hash_one(self.digest)
    }

    fn identify(&self, identity: &mut Identity) {
        identity.part(DOMAIN).nested(|identity| self.server.identify(identity));
        identity.part(self.auth_digest).part(self.grant_digest);
        for list in [&self.scope, &self.audiences, &self.resources] {
            // The order of the texts is not part of the identity.
            let mut texts: Vec<_> = list.iter().map(|text| text.as_bytes()).collect();
            texts.sort_unstable();
            identity.list(texts);
        }
        identity.list(self.authorization_details.as_deref());
        let mut parameters: Vec<_> = self.parameters.iter().collect();
        parameters.sort_unstable_by_key(|(name, _)| name);
        let texts = parameters.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        identity.list(texts);
        identity.list(self.dpop.as_ref().map(|key| key.thumbprint()));
    }
}

fn digest_of(identify: impl FnOnce(&mut Identity)) -> IdentityDigest {
    let mut identity = Identity::new();
    identify(&mut identity);
    identity.digest()
}
