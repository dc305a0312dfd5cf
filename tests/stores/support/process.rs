use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A server in a child process with its own directory. Both are removed on drop, and
/// when the test is killed.
pub struct Process {
    child: Child,
    /// The process that kills the server once its standard input closes.
    watchdog: Child,
    directory: PathBuf,
}

impl Process {
    /// Starts `program` in a new directory with these files.
    pub fn start(program: &str, arguments: &[String], files: &[(&str, String)]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{program}-{}-{count}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        for (name, content) in files {
            fs::write(directory.join(name), content).unwrap();
        }
        let log = fs::File::create(directory.join("log")).unwrap();
        let child = Command::new(program)
            .args(arguments)
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{program}: {error}: `bash tests/run.sh` installs what the tests need")
            });
        let watchdog = Command::new("sh")
            .args(["-c", r#"trap '' INT TERM; read _; kill -KILL "$1" 2>&-; rm -rf "$2""#, "sh"])
            .arg(child.id().to_string())
            .arg(&directory)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, watchdog, directory }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends a signal such as `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let status =
            Command::new("sh").args(["-c", r#"kill -s "$1" "$2""#, "sh", name, &id]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // In this order, because the id of the server is not reused before it is waited for.
        let _ = self.child.kill();
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
        let _ = self.child.wait();
    }
}
