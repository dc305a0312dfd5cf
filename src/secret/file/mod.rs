//! Reads a file whose content may change, whenever it is needed.

mod queue;
mod read;
mod worker;

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, Weak};
use std::time::Duration;

use tokio::time::sleep;
use zeroize::Zeroizing;

use self::queue::Queue;
use self::read::{LookResult, Stamp, Wanted};
use super::version;
use crate::util::sync::LockExt;
use crate::util::{byte_order_mark, runtime};

const LINE_BREAKS: [char; 2] = ['\r', '\n'];

/// The pause before a file is read again that may be half written.
const REREAD_AFTER: Duration = Duration::from_millis(20);

/// The number of times that a file is read again.
///
/// A log file, for example, never stays the same.
const MAX_REREADS: u32 = 5;

/// Watches a file that is read whenever its content is needed.
///
/// A *look* reads the metadata of the file, and its content if that is needed. All values with the
/// same path share their looks.
#[derive(Clone)]
pub(crate) struct WatchedFile(Arc<FileState>);

struct FileState {
    path: Arc<Path>,
    looks: Arc<dyn MutableFileState>,
}

/// Gives access to the mutable part of a file's state.
///
/// It is a trait object, because credentials may be the keys of a map, and clippy would take a
/// `Mutex` in them for a part of the key. The state is not part of the identity of credentials.
trait MutableFileState: Send + Sync {
    fn last_stamp(&self) -> &AtomicU64;
    fn queue(&self) -> &Arc<Queue<LookResult>>;
}

#[derive(Default)]
struct Looks {
    last_stamp: AtomicU64,
    queue: Arc<Queue<LookResult>>,
}

impl MutableFileState for Looks {
    fn last_stamp(&self) -> &AtomicU64 {
        &self.last_stamp
    }

    fn queue(&self) -> &Arc<Queue<LookResult>> {
        &self.queue
    }
}

/// The watched files of the process by their paths.
static FILES: LazyLock<Mutex<HashMap<Arc<Path>, Weak<FileState>>>> = LazyLock::new(Mutex::default);

impl WatchedFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        let path: Arc<Path> = path.into();
        let mut files = lock_files();
        if let Some(state) = files.get(&path).and_then(Weak::upgrade) {
            return Self(state);
        }
        let looks = Arc::<Looks>::default();
        let state = Arc::new(FileState { path: path.clone(), looks });
        files.insert(path, Arc::downgrade(&state));
        Self(state)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    /// Returns the path as it was given.
    pub(crate) fn identity(&self) -> &[u8] {
        self.path().as_os_str().as_encoded_bytes()
    }

    /// Returns a number that changes with the file, or 0 without a file.
    ///
    /// Within [`version::current`] this is the number at the last look, which took place on another
    /// thread. A user who calls a `version` directly gets a look on the calling thread.
    pub(crate) fn version(&self) -> Stamp {
        if version::record_dependency(self) {
            return self.0.looks.last_stamp().load(Ordering::Acquire);
        }
        self.path().metadata().map_or(0, |metadata| read::stamp(&metadata))
    }

    /// Looks at the file on another thread, so that [`version`](Self::version) is up to date.
    pub(super) async fn update_version(&self) {
        // A file that cannot be looked at keeps its version. Reading it reports the error.
        let _ = self.look(Wanted::Stamp).await;
    }

    /// Reads the text without the line breaks at the end.
    pub(crate) async fn read(&self) -> Result<Zeroizing<String>, FileError> {
        let content = self.read_bytes().await?;
        let text = std::str::from_utf8(content.as_slice())
            .map_err(|_| FileError::new(self, FileErrorKind::Text("is not UTF-8")))?;
        Ok(Zeroizing::new(text.trim_end_matches(LINE_BREAKS).to_owned()))
    }

    /// Reads the content without a byte order mark, which must be more than line breaks.
    pub(crate) async fn read_bytes(&self) -> Result<FileContent, FileError> {
        let content = self.read_settled().await.map_err(|kind| FileError::new(self, kind))?;
        let is_line_break = |byte: &u8| LINE_BREAKS.contains(&char::from(*byte));
        if content.as_slice().iter().all(is_line_break) {
            return Err(FileError::new(self, FileErrorKind::Text("is empty")));
        }
        Ok(content)
    }

    /// Reads the file until it does not change any more.
    ///
    /// A program that writes a file in place truncates it first. A read in between finds an empty
    /// or half written file, so a file that has just changed must look the same 20 ms later.
    async fn read_settled(&self) -> Result<FileContent, FileErrorKind> {
        let mut previous = None;
        let mut rereads = 0;
        loop {
            let looked = self.look(Wanted::Content).await?;
            let content = match &looked.content {
                Some(Ok(content)) => content,
                Some(Err(kind)) => return Err(kind.clone()),
                None => return Err(FileErrorKind::Text("was not read")),
            };
            let [before, after] = content.stamps;
            let is_whole = before == after;
            let has_settled = !content.is_recent || previous == Some(before);
            if is_whole && (has_settled || rereads == MAX_REREADS) {
                return Ok(FileContent(looked));
            }
            if rereads == MAX_REREADS {
                return Err(FileErrorKind::Text("changes while it is being read"));
            }
            previous = Some(after);
            rereads += 1;
            sleep(REREAD_AFTER).await;
        }
    }

    /// Looks at the file on another thread.
    async fn look(&self, wanted: Wanted) -> Result<Arc<LookResult>, FileErrorKind> {
        if runtime::current().is_none() {
            return Err(FileErrorKind::Text("there is no tokio runtime to read it on"));
        }
        let state = self.0.clone();
        let look = move |wanted| {
            let result = read::look_at(&state.path, wanted);
            state.looks.last_stamp().store(result.stamp, Ordering::Release);
            result
        };
        self.0.looks.queue().run(wanted, look).await
    }
}

impl Drop for FileState {
    fn drop(&mut self) {
        let mut files = lock_files();
        // Another value for the path may have been created since the last one was dropped.
        if files.get(&self.path).is_some_and(|state| state.strong_count() == 0) {
            files.remove(&self.path);
        }
    }
}

fn lock_files() -> MutexGuard<'static, HashMap<Arc<Path>, Weak<FileState>>> {
    FILES.lock_unpoisoned()
}

/// Holds the content of a file without its byte order mark.
///
/// The content is wiped when the last clone is dropped.
pub(crate) struct FileContent(Arc<LookResult>);

impl FileContent {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match &self.0.content {
            Some(Ok(content)) => byte_order_mark::skip(&content.bytes),
            _ => &[],
        }
    }
}

/// Reports a file that cannot be used now, but perhaps later.
///
/// The text has the path and no content.
pub(crate) struct FileError {
    path: Arc<Path>,
    kind: FileErrorKind,
}

/// Says why a file cannot be used. Callers that share a look share the reason.
#[derive(Clone)]
pub(crate) enum FileErrorKind {
    Text(&'static str),
    Io(Arc<io::Error>),
    /// The content does not have the right form.
    #[cfg(feature = "jwt")]
    Content(crate::error::ConfigError),
}

impl FileError {
    fn new(file: &WatchedFile, kind: FileErrorKind) -> Self {
        Self { path: file.0.path.clone(), kind }
    }

    #[cfg(feature = "jwt")]
    pub(crate) fn invalid_content(file: &WatchedFile, error: crate::error::ConfigError) -> Self {
        Self::new(file, FileErrorKind::Content(error))
    }
}

impl From<io::Error> for FileErrorKind {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: ", self.path)?;
        match &self.kind {
            FileErrorKind::Text(text) => f.write_str(text),
            FileErrorKind::Io(_) => f.write_str("cannot be read"),
            #[cfg(feature = "jwt")]
            FileErrorKind::Content(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileError({self})")
    }
}

impl StdError for FileError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.kind {
            FileErrorKind::Io(error) => Some(&**error),
            _ => None,
        }
    }
}
