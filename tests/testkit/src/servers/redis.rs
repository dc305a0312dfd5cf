use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{Client, FromRedisValue, TlsCertificates, cmd};
use tokio::time::{sleep, timeout};
use tower_oauth2::store::RedisStore;

use super::{MAX_WAIT, Process, free_port};
use crate::certificates::Ca;

/// A `redis-server` on its own port.
pub struct Redis {
    process: Process,
    port: u16,
    setup: Setup,
}

/// The configuration of a server.
#[derive(Clone, Default)]
pub struct Setup {
    arguments: Vec<String>,
    files: Vec<(&'static str, String)>,
}

impl Setup {
    /// Adds a line to the configuration.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([format!("--{name}"), value.to_owned()]);
        self
    }

    /// Adds a line that names a file in the directory of the server.
    fn with_file(mut self, name: &str, file: &'static str, content: String) -> Self {
        self.files.push((file, content));
        self.with(name, file)
    }
}

impl Redis {
    pub async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    pub async fn start_with(setup: Setup) -> Self {
        for _ in 0..20 {
            let port = free_port();
            let process = spawn(port, &setup);
            let mut redis = Self { process, port, setup: setup.clone() };
            if redis.becomes_ready().await {
                return redis;
            }
        }
        panic!("redis-server does not start");
    }

    /// Waits for the server. Returns `false` if another process uses its port.
    async fn becomes_ready(&mut self) -> bool {
        let id = self.process.id().to_string();
        let wait = async {
            loop {
                if self.process.has_ended() {
                    return false;
                }
                if let Ok(mut connection) = self.try_connect().await {
                    let mut info = cmd("INFO");
                    info.arg("server");
                    if let Ok(info) = info.query_async::<String>(&mut connection).await {
                        return info.lines().any(|line| line == format!("process_id:{id}"));
                    }
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(MAX_WAIT, wait).await.unwrap_or_else(|_| panic!("{}", self.process.log()))
    }

    async fn try_connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        Client::open(self.url())?.get_multiplexed_async_connection().await
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Opens a connection that does not reconnect.
    pub async fn connect(&self) -> MultiplexedConnection {
        self.try_connect().await.unwrap()
    }

    /// Returns a store that manages its connections.
    pub fn open(&self) -> RedisStore {
        RedisStore::open(self.url()).unwrap()
    }

    /// Opens a connection that reconnects.
    pub fn manage(&self) -> ConnectionManager {
        manage(Client::open(self.url()).unwrap())
    }

    /// Opens a connection with this password.
    pub async fn connect_as(&self, password: &str) -> MultiplexedConnection {
        let url = self.url().replace("//", &format!("//:{password}@"));
        Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
    }

    /// Makes the server a replica of `primary` and waits until both have the same data.
    pub async fn replicate(&self, primary: &Self) {
        self.run::<()>(&format!("REPLICAOF 127.0.0.1 {}", primary.port)).await;
        let wait = async {
            loop {
                let info: String = self.run("INFO replication").await;
                if info.lines().any(|line| line == "master_link_status:up") {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(MAX_WAIT, wait).await.expect("the replica does not reach its primary");
    }

    /// Runs a command such as `CONFIG SET maxmemory 1` on a new connection.
    pub async fn run<T: FromRedisValue>(&self, line: &str) -> T {
        run_on(&mut self.connect().await, line).await
    }

    pub async fn keys(&self) -> Vec<String> {
        self.run("KEYS *").await
    }

    /// Stops all threads of the server, like a network or machine that hangs.
    pub fn pause(&self) {
        self.process.signal("STOP");
    }

    pub fn resume(&self) {
        self.process.signal("CONT");
    }

    /// Kills the server, which loses its data.
    pub fn kill(self) -> Killed {
        let Self { process, port, setup } = self;
        drop(process);
        Killed { port, setup }
    }
}

/// A killed server.
pub struct Killed {
    port: u16,
    setup: Setup,
}

impl Killed {
    /// Starts the server again on its port, without data.
    pub async fn restart(self) -> Redis {
        let Self { port, setup } = self;
        let process = spawn(port, &setup);
        let mut redis = Redis { process, port, setup };
        assert!(redis.becomes_ready().await, "{}", redis.process.log());
        redis
    }
}

/// Runs a command on an open connection.
pub async fn run_on<T: FromRedisValue>(connection: &mut MultiplexedConnection, line: &str) -> T {
    let mut words = line.split(' ');
    let mut command = cmd(words.next().unwrap());
    words.for_each(|word| {
        command.arg(word);
    });
    command.query_async(connection).await.unwrap()
}

fn spawn(port: u16, setup: &Setup) -> Process {
    let port = port.to_string();
    let own = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
    let others = setup.arguments.iter().map(String::as_str);
    let all: Vec<_> = own.into_iter().chain(others).collect();
    Process::start("redis-server", &all, &setup.files)
}

/// Opens a connection that soon notices the loss of its server.
fn manage(client: Client) -> ConnectionManager {
    let second = Some(Duration::from_secs(1));
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(second)
        .set_response_timeout(second)
        .set_number_of_retries(1);
    ConnectionManager::new_lazy_with_config(client, config).unwrap()
}

/// A server with TLS, whose certificate has an authority that only its clients trust.
pub struct TlsRedis {
    pub redis: Redis,
    port: u16,
    /// The certificate authority in PEM.
    pub authority: String,
}

impl TlsRedis {
    pub async fn start() -> Self {
        let ca = Ca::new();
        let identity = ca.certify();
        let port = free_port();
        let setup = Setup::default()
            .with("tls-port", &port.to_string())
            .with("tls-auth-clients", "no")
            .with_file("tls-cert-file", "certificate.pem", identity.certificate_pem())
            .with_file("tls-key-file", "key.pem", identity.key_pem())
            .with_file("tls-ca-cert-file", "authority.pem", ca.pem.clone());
        Self { redis: Redis::start_with(setup).await, port, authority: ca.pem }
    }

    pub fn url_as(&self, user: &str) -> String {
        format!("rediss://{user}@127.0.0.1:{}", self.port)
    }

    /// Returns a client with TLS for `user:password`.
    pub fn client_as(&self, user: &str) -> Client {
        let certificates =
            TlsCertificates { client_tls: None, root_cert: Some(self.authority.clone().into()) };
        Client::build_with_tls(self.url_as(user), certificates).unwrap()
    }

    /// Returns a store with TLS for `user:password`.
    pub fn open_as(&self, user: &str) -> RedisStore {
        RedisStore::new(self.client_as(user))
    }
}

/// A cluster of three nodes.
pub struct Cluster {
    pub nodes: Vec<Redis>,
}

impl Cluster {
    pub async fn start() -> Self {
        let setup = Setup::default().with("cluster-enabled", "yes");
        let mut nodes = Vec::new();
        for n in 0..3 {
            let node = Redis::start_with(setup.clone()).await;
            let slots = (n * 16_384 / 3)..((n + 1) * 16_384 / 3);
            let slots: Vec<_> = slots.map(|slot| slot.to_string()).collect();
            node.run::<()>(&format!("CLUSTER ADDSLOTS {}", slots.join(" "))).await;
            node.run::<()>(&format!("CLUSTER SET-CONFIG-EPOCH {}", n + 1)).await;
            nodes.push(node);
        }
        for node in &nodes[1..] {
            node.run::<()>(&format!("CLUSTER MEET 127.0.0.1 {}", nodes[0].port)).await;
        }
        let cluster = Self { nodes };
        timeout(MAX_WAIT, cluster.becomes_ready()).await.expect("the nodes do not find each other");
        cluster
    }

    /// Waits until every node knows the owners of all slots.
    async fn becomes_ready(&self) {
        for node in &self.nodes {
            loop {
                let info: String = node.run("CLUSTER INFO").await;
                if ["cluster_state:ok", "cluster_size:3", "cluster_known_nodes:3"]
                    .iter()
                    .all(|line| info.lines().any(|found| found == *line))
                {
                    break;
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
    }

    pub async fn connect(&self) -> ClusterConnection {
        let client = ClusterClient::new(self.nodes.iter().map(Redis::url)).unwrap();
        client.get_async_connection().await.unwrap()
    }
}
