//! Errors and `Debug` texts.

use std::time::Duration;

use redis::Client;
use redis::aio::MultiplexedConnection;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tower::BoxError;
use tower_oauth2::store::{RedisStore, TokenStore};

const TOKEN: &str = "EYJHBGCIOIJIUZI1NIJ9";
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_error_contains_only_the_code_of_an_error_reply() {
    for (reply, expected) in [
        ("-ERR unknown command 'EVALSHA', with args beginning with: 'VALUE' 'key'", "ERR"),
        ("-NOPERM this user has no permissions to run 'VALUE'", "NOPERM"),
        ("-OOM command not allowed: VALUE", "OOM"),
        ("-READONLY VALUE", "READONLY"),
        ("-NOAUTH VALUE", "NOAUTH"),
        ("-MOVED 1 VALUE:1", "MOVED"),
        ("-NOSCRIPT VALUE", "NOSCRIPT"),
        // A token instead of the code.
        ("-VALUE", "the server returned an error"),
        ("-VALUE VALUE", "the server returned an error"),
        ("$20\r\nVALUE", "the server returned an unexpected answer"),
        ("+VALUE", "the server returned an unexpected answer"),
        ("*2\r\n$1\r\na\r\n$20\r\nVALUE", "the server returned an unexpected answer"),
        ("*2\r\n$20\r\nVALUE\r\n:-1", "the server returned an unexpected answer"),
        ("?VALUE", "the server returned an unexpected answer"),
        (":99999999999999999999999VALUE", "the server returned an unexpected answer"),
        ("", "the connection was lost"),
    ] {
        let reply = reply.replace("VALUE", TOKEN);
        let store = RedisStore::new(connection_that_answers(reply.clone()).await);
        assert_error(store.get("key").await.map(drop), expected, &reply);
        let store = RedisStore::new(connection_that_answers(reply.clone()).await);
        let answer = store.replace("key", None, TOKEN.as_bytes(), MINUTE).await;
        assert_error(answer.map(drop), expected, &reply);
        if reply.starts_with('-') || reply.is_empty() {
            let store = RedisStore::new(connection_that_answers(reply.clone()).await);
            let answer = store.set("key", TOKEN.as_bytes(), MINUTE).await;
            assert_error(answer, expected, &reply);
        }
    }
}

fn assert_error(answer: Result<(), BoxError>, expected: &str, reply: &str) {
    let error = answer.expect_err(reply);
    assert_eq!(error.to_string(), format!("Redis: {expected}"), "{reply}");
    assert_eq!(format!("{error:?}"), format!("Failure({expected:?})"), "{reply}");
    assert!(error.source().is_none());
}

#[tokio::test]
async fn debug_shows_the_prefix_only() {
    let store = RedisStore::new(connection_that_answers(String::new()).await);
    assert_eq!(format!("{store:?}"), r#"RedisStore { prefix: "tower-oauth2:", .. }"#);
}

#[tokio::test]
async fn a_refused_connection_is_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    drop(listener);
    let config = redis::aio::ConnectionManagerConfig::new().set_number_of_retries(0);
    let client = Client::open(url).unwrap();
    let manager = redis::aio::ConnectionManager::new_lazy_with_config(client, config).unwrap();
    let error = RedisStore::new(manager).get("key").await.unwrap_err();
    assert_eq!(error.to_string(), "Redis: the connection was refused");
}

/// Returns a connection on which the server answers all commands with `reply`. If `reply` is empty,
/// the server closes the connection.
async fn connection_that_answers(reply: String) -> MultiplexedConnection {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        answer(stream, &reply).await;
    });
    Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

async fn answer(stream: TcpStream, reply: &str) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let name = read_command(&mut stream).await?;
        let reply = match &*name {
            "CLIENT" => "+OK",
            _ if reply.is_empty() => return None,
            _ => reply,
        };
        stream.write_all(format!("{reply}\r\n").as_bytes()).await.ok()?;
    }
}

/// Returns the name of the next command, or `None` at the end of the connection.
async fn read_command(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut words = Vec::new();
    for _ in 0..read_count(stream).await? {
        let mut word = vec![0; read_count(stream).await? + 2];
        stream.read_exact(&mut word).await.ok()?;
        words.push(String::from_utf8(word).ok()?.trim_end().to_owned());
    }
    words.into_iter().next()
}

async fn read_count(stream: &mut BufReader<TcpStream>) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.trim_end().get(1..)?.parse().ok()
}
