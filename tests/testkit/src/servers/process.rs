use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::Folder;

/// A server in a child process with its own directory. Both are removed on drop, and
/// when the test is killed.
pub struct Process {
    child: Child,
    /// The process that kills the server once its standard input closes.
    watchdog: Child,
    folder: Folder,
}

impl Process {
    /// Starts `program` in a new directory with these files.
    pub fn start(program: &str, arguments: &[&str], files: &[(&str, String)]) -> Self {
        let folder = Folder::new();
        for (name, content) in files {
            fs::write(folder.path(name), content).unwrap();
        }
        let log = fs::File::create(folder.path("log")).unwrap();
        let child = Command::new(program)
            .args(arguments)
            .current_dir(folder.path(""))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{program}: {error}: `bash tests/run.sh` downloads the servers and runs the tests")
            });
        let watchdog = Command::new("sh")
            .args(["-c", r#"trap '' INT TERM; read _; kill -KILL "$1" 2>&-; rm -rf "$2""#, "sh"])
            .arg(child.id().to_string())
            .arg(folder.path(""))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, watchdog, folder }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the path of a file in the directory of the server.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
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
