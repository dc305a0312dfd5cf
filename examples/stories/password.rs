//! A token as the password of a connection, for example to a database.

use tower_oauth2::{BoxError, CachedToken, TokenEndpoint, Tokens};

use crate::server::{TestServer, expect};

/// A connection that accepts a new password at any time, such as one to Redis.
#[derive(Default)]
struct Connection {
    passwords: Vec<String>,
}

impl Connection {
    async fn authenticate(&mut self, password: &str) -> Result<(), BoxError> {
        self.passwords.push(password.to_owned());
        Ok(())
    }
}

/// Authenticates again with each new token. An application runs this in a task, without a limit.
async fn keep_authenticated(tokens: &Tokens, connection: &mut Connection, times: usize) {
    let mut changes = tokens.changes();
    for _ in 0..times {
        match changes.next().await {
            Ok(token) => authenticate(connection, &token).await,
            Err(error) => eprintln!("no password yet: {error}"),
        }
    }
}

async fn authenticate(connection: &mut Connection, token: &CachedToken) {
    if connection.authenticate(token.secret()).await.is_err() {
        token.reject();
    }
}

/// Returns the password. A connection pool calls this whenever it connects.
async fn password(tokens: &Tokens) -> Result<String, BoxError> {
    Ok(tokens.get().await?.secret().to_owned())
}

pub(crate) async fn run(server: &TestServer) -> Result<(), BoxError> {
    let tokens = Tokens::new(server.credentials("app")?, TokenEndpoint::new(server.http()));
    expect(&*password(&tokens).await?, "token-1")?;

    let mut connection = Connection::default();
    keep_authenticated(&tokens, &mut connection, 1).await;
    // The server has revoked the token, and another part of the application reports it.
    tokens.get().await?.reject();
    keep_authenticated(&tokens, &mut connection, 1).await;
    expect(connection.passwords, vec!["token-1".to_owned(), "token-2".to_owned()])
}
