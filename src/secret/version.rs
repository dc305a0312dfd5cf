//! Looks up versions of secrets in files, without blocking the calling thread.

use std::cell::RefCell;
use std::time::Duration;

use tokio::time::timeout;

use super::WatchedFile;
use crate::util::runtime;

/// The longest wait for a look at the files. After that, the last known version is used.
const LIMIT: Duration = Duration::from_millis(250);

thread_local! {
    /// The files on which the version depends that this thread is computing.
    static DEPENDENCIES: RefCell<Option<Vec<WatchedFile>>> = const { RefCell::new(None) };
}

/// Computes a version after a look at the files that it depends on.
///
/// [`ClientAuthentication::version`](crate::client_auth::ClientAuthentication::version) is not
/// async, and a caller's own method may contain one of this crate's. So the version is computed
/// twice: the first time finds out which files it depends on, and the second time uses the result
/// of the looks.
pub(crate) async fn current(version: impl Fn() -> u64) -> u64 {
    let (last_known, files) = with_dependencies(&version);
    if files.is_empty() || runtime::current().is_none() {
        return last_known;
    }
    let looks = async {
        for file in &files {
            file.update_version().await;
        }
    };
    // A look may hang, and must not delay a remembered error or a token request by more than this.
    let _ = timeout(LIMIT, looks).await;
    with_dependencies(&version).0
}

/// Records `file` if this thread is computing a version, and returns whether it is.
pub(super) fn record_dependency(file: &WatchedFile) -> bool {
    DEPENDENCIES.with_borrow_mut(|files| match files {
        Some(files) => {
            files.push(file.clone());
            true
        }
        None => false,
    })
}

fn with_dependencies(version: impl Fn() -> u64) -> (u64, Vec<WatchedFile>) {
    let recording = Recording { outer: DEPENDENCIES.replace(Some(Vec::new())) };
    let version = version();
    let files = DEPENDENCIES.with_borrow_mut(Option::take).unwrap_or_default();
    drop(recording);
    (version, files)
}

/// Ends the recording, also when a caller's code panics.
struct Recording {
    outer: Option<Vec<WatchedFile>>,
}

impl Drop for Recording {
    fn drop(&mut self) {
        let own = DEPENDENCIES.replace(self.outer.take());
        drop(own);
    }
}

#[cfg(all(test, not(races)))]
mod tests {
    use super::*;

    // C9: reading a file blocks, so it happens on another thread.
    #[tokio::test(start_paused = true)]
    async fn a_version_is_computed_from_the_last_look() {
        let path = std::env::temp_dir().join(format!("oauth2-version-{}", std::process::id()));
        let file = WatchedFile::new(path.clone());
        let version = || file.version();
        assert_eq!(current(version).await, 0);
        std::fs::write(&path, "one").unwrap();
        let (last_known, files) = with_dependencies(version);
        assert_eq!((last_known, files.len()), (0, 1), "this thread does not look");
        let one = current(version).await;
        assert_ne!(one, 0);
        std::fs::write(&path, "three").unwrap();
        assert_eq!(with_dependencies(version).0, one);
        assert_ne!(current(version).await, one);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(current(version).await, 0);
    }
}
