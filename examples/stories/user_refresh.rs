//! Users who have authorized an application. Each has a refresh token that the server rotates.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tower_oauth2::grant::{RefreshToken, RotatedToken};
use tower_oauth2::{BoxError, Credentials, TokenCache, TokenEndpoint, Tokens};

use crate::server::{TestServer, expect};

/// A database with the refresh tokens of all users.
#[derive(Clone, Default)]
struct Users(Arc<Mutex<HashMap<String, String>>>);

impl Users {
    async fn refresh_token(&self, user: &str) -> Result<String, BoxError> {
        let users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        users.get(user).cloned().ok_or_else(|| format!("{user} has not authorized").into())
    }

    async fn save(&self, user: &str, refresh_token: &str) -> Result<(), BoxError> {
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        users.insert(user.to_owned(), refresh_token.to_owned());
        Ok(())
    }
}

/// Creates a user's tokens. Rotated refresh tokens are saved.
async fn tokens_of(
    users: &Users,
    user: &str,
    own: &Credentials,
    cache: &TokenCache,
) -> Result<Tokens, BoxError> {
    let (store, first) = (users.clone(), users.refresh_token(user).await?);
    let refresh_token = RefreshToken::new(user, first, move |rotated: RotatedToken| {
        let store = store.clone();
        async move { store.save(rotated.name(), rotated.secret()).await }
    });
    let tokens = cache.tokens(&own.clone().grant(refresh_token));
    match tokens.warm().await {
        Err(error) if error.error_code() == Some("invalid_grant") => {
            Err("the user has to authorize again".into())
        }
        Err(error) => Err(error.into()),
        Ok(()) => Ok(tokens),
    }
}

pub(crate) async fn run(server: &TestServer) -> Result<(), BoxError> {
    let users = Users::default();
    users.save("alf", "r").await?;
    let cache = TokenCache::new(TokenEndpoint::new(server.http()));
    let tokens = tokens_of(&users, "alf", &server.credentials("app")?, &cache).await?;
    // The rotated token was saved before the access token was returned.
    expect(&*users.refresh_token("alf").await?, "r+")?;

    tokens.get().await?.reject();
    expect(tokens.get().await?.secret(), "token-2")?;
    expect(&*users.refresh_token("alf").await?, "r++")
}
