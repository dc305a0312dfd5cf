use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;
use tower_oauth2_testkit::servers::Redis;

use super::authority::Authority;
use super::worker::{Step, VARIABLE};

/// A process, which is killed on drop.
pub struct Worker {
    child: Child,
    stdin: ChildStdin,
    lines: UnboundedReceiver<String>,
}

impl Worker {
    /// Starts a process without a token. It stops at `parks_at`.
    pub fn spawn(
        redis: &Redis,
        authority: &Authority,
        lease: Duration,
        parks_at: Option<Step>,
    ) -> Self {
        let step = parks_at.map(|step| format!("{step:?}")).unwrap_or_default();
        let lease = lease.as_millis();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::worker::worker", "--ignored", "--nocapture"])
            .env(VARIABLE, format!("{} {} {lease} {step}", redis.url(), authority.origin))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = unbounded_channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, stdin, lines }
    }

    pub fn say(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// Waits for the next line of the process, which must be `expected`.
    pub async fn hear(&mut self, expected: &str) {
        let hear = async {
            while let Some(line) = self.lines.recv().await {
                // Other lines come from the test harness.
                if let Some((_, said)) = line.split_once("worker: ") {
                    assert_eq!(said, expected);
                    return;
                }
            }
            panic!("the worker has ended");
        };
        timeout(Duration::from_secs(60), hear).await.expect(expected);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Several processes.
pub struct Fleet(Vec<Worker>);

impl Fleet {
    pub async fn start(
        count: usize,
        redis: &Redis,
        authority: &Authority,
        lease: Duration,
    ) -> Self {
        let workers = (0..count).map(|_| Worker::spawn(redis, authority, lease, None));
        let mut fleet = Self(workers.collect());
        for worker in &mut fleet.0 {
            worker.hear("ready").await;
        }
        fleet
    }

    /// Makes all processes send a request to the API.
    pub fn begin(&mut self) {
        self.0.iter_mut().for_each(|worker| worker.say("go"));
    }

    /// Waits until the request of each process has returned 200.
    pub async fn end(&mut self) {
        for worker in &mut self.0 {
            worker.hear("200").await;
        }
    }

    pub async fn go(&mut self) {
        self.begin();
        self.end().await;
    }
}
