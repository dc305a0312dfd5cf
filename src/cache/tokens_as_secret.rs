//! Turns tokens into the secret of another grant or of client authentication.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::tokens::Tokens;
use crate::secret::{Identity, ReadFuture, Secret, SecretSource};

/// Uses the current token of these credentials as a secret.
///
/// The secret can be an assertion or a subject token, for example. The token is read for each token
/// request, and an expired one is replaced first. If the server refuses the token before its end,
/// [reject](crate::CachedToken::reject) it: the server's error does not say which part of the
/// request it refuses.
///
/// Tokens of equal credentials are equal secrets, even if their caches have different sources. So
/// give [`Credentials::named`](crate::Credentials::named) for different sources different names.
impl From<Tokens> for Secret {
    fn from(tokens: Tokens) -> Self {
        Self::from_source(Arc::new(tokens))
    }
}

/// Uses the current token of these credentials as a secret.
impl From<&Tokens> for Secret {
    fn from(tokens: &Tokens) -> Self {
        tokens.clone().into()
    }
}

impl SecretSource for Tokens {
    fn read(&self) -> ReadFuture<'_> {
        Box::pin(async { Ok(Zeroizing::new(self.get().await?.secret().to_owned())) })
    }

    fn identify(&self, identity: &mut Identity) {
        identity.part("tokens").part(self.credentials().digest());
    }

    fn version(&self) -> u64 {
        self.slot().published_issue()
    }
}
