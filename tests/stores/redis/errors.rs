//! What an error says of the server's own words.

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
async fn a_servers_own_words_stay_with_it() {
    for (reply, expected) in [
        ("-ERR unknown command 'EVALSHA', with args beginning with: 'VALUE' 'key'", "ERR"),
        ("-NOPERM this user has no permissions to run 'VALUE'", "NOPERM"),
        ("-OOM command not allowed: VALUE", "OOM"),
        ("-READONLY VALUE", "READONLY"),
        ("-NOAUTH VALUE", "NOAUTH"),
        ("-MOVED 1 VALUE:1", "MOVED"),
        ("-NOSCRIPT VALUE", "NOSCRIPT"),
        // The token in the place of the code.
        ("-VALUE", "an error reply"),
        ("-VALUE VALUE", "an error reply"),
        ("$20\r\nVALUE", "the answer made no sense"),
        ("+VALUE", "the answer made no sense"),
        ("*2\r\n$1\r\na\r\n$20\r\nVALUE", "the answer made no sense"),
        ("*2\r\n$20\r\nVALUE\r\n:-1", "the answer made no sense"),
        ("?VALUE", "the answer made no sense"),
        (":99999999999999999999999VALUE", "the answer made no sense"),
        ("", "the connection was lost"),
    ] {
        let reply = reply.replace("VALUE", TOKEN);
        let store = RedisStore::new(connection_that_answers(reply.clone()).await);
        assert_says(store.get("key").await.map(drop), expected, &reply);
        let store = RedisStore::new(connection_that_answers(reply.clone()).await);
        let answer = store.replace("key", None, TOKEN.as_bytes(), MINUTE).await;
        assert_says(answer.map(drop), expected, &reply);
        if reply.starts_with('-') || reply.is_empty() {
            let store = RedisStore::new(connection_that_answers(reply.clone()).await);
            let answer = store.set("key", TOKEN.as_bytes(), MINUTE).await;
            assert_says(answer, expected, &reply);
        }
    }
}

fn assert_says(answer: Result<(), BoxError>, expected: &str, reply: &str) {
    let error = answer.expect_err(reply);
    assert_eq!(error.to_string(), format!("Redis: {expected}"), "{reply}");
    assert_eq!(format!("{error:?}"), format!("Failure({expected:?})"), "{reply}");
    assert!(error.source().is_none());
}

#[tokio::test]
async fn nobody_is_shown_a_connection_or_a_value() {
    let store = RedisStore::new(connection_that_answers(String::new()).await);
    assert_eq!(format!("{store:?}"), r#"RedisStore { prefix: "tower-oauth2:", .. }"#);
}

#[tokio::test]
async fn a_server_that_is_away_is_said_to_be() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    drop(listener);
    let config = redis::aio::ConnectionManagerConfig::new().set_number_of_retries(0);
    let client = Client::open(url).unwrap();
    let manager = redis::aio::ConnectionManager::new_lazy_with_config(client, config).unwrap();
    let error = RedisStore::new(manager).get("key").await.unwrap_err();
    assert_eq!(error.to_string(), "Redis: the connection was refused");
}

/// A connection that is set up as it should be, and then answered with `reply` to everything. Hung up on, if that is
/// empty.
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

/// The name of the next command; none when there is no other.
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
