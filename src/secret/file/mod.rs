//! A file whose content may change, read whenever it is needed.

mod look;
mod queue;
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

use self::look::{Looked, Stamp, Wants};
use self::queue::Queue;
use super::version;
use crate::util::runtime;
use crate::util::sync::LockExt;

/// Some editors and shells write it at the beginning of a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

const LINE_BREAKS: [char; 2] = ['\r', '\n'];

/// The pause before a file is read again that may be half written.
const REREAD_AFTER: Duration = Duration::from_millis(20);

/// The number of times that a file is read again, because a log file never settles.
const MAX_REREADS: u32 = 5;

/// A file that is read whenever its content is needed.
///
/// All values with the same path share their looks at the file.
#[derive(Clone)]
pub(crate) struct WatchedFile(Arc<FileState>);

struct FileState {
    path: Arc<Path>,
    last_stamp: AtomicU64,
    looks: Arc<Queue<Looked>>,
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
        let looks = Arc::default();
        let state = FileState { path: path.clone(), last_stamp: AtomicU64::new(0), looks };
        let state = Arc::new(state);
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

    /// Returns a number that differs when the file has changed; 0 if there is no file.
    ///
    /// Within [`version::current`] this is the number at the last look, which took place on another
    /// thread. A user who calls a `version` directly gets a look on the calling thread.
    pub(crate) fn version(&self) -> Stamp {
        if version::is_dependency(self) {
            return self.0.last_stamp.load(Ordering::Acquire);
        }
        self.path().metadata().map_or(0, |metadata| look::stamp(&metadata))
    }

    /// Looks at the file on another thread, so that [`version`](Self::version) is up to date.
    pub(super) async fn update_version(&self) {
        // A file that cannot be looked at keeps its version. Reading it reports the problem.
        let _ = self.look(Wants::Stamp).await;
    }

    /// Reads the text without the line breaks at the end.
    pub(crate) async fn read(&self) -> Result<Zeroizing<String>, Unusable> {
        let content = self.read_bytes().await?;
        let text = std::str::from_utf8(content.as_slice())
            .map_err(|_| Unusable::new(self, Problem::Text("is not UTF-8")))?;
        Ok(Zeroizing::new(text.trim_end_matches(LINE_BREAKS).to_owned()))
    }

    /// Reads the content without a byte order mark. It contains more than line breaks.
    pub(crate) async fn read_bytes(&self) -> Result<FileContent, Unusable> {
        let content = self.read_settled().await.map_err(|problem| Unusable::new(self, problem))?;
        let is_line_break = |byte: &u8| LINE_BREAKS.contains(&char::from(*byte));
        if content.as_slice().iter().all(is_line_break) {
            return Err(Unusable::new(self, Problem::Text("is empty")));
        }
        Ok(content)
    }

    /// Reads the file until it does not change any more.
    ///
    /// A program that writes a file in place truncates it first. A read in between finds an empty
    /// or half written file, so a file that has just changed must look the same 20 ms later.
    async fn read_settled(&self) -> Result<FileContent, Problem> {
        let mut previous = None;
        let mut rereads = 0;
        loop {
            let looked = self.look(Wants::Content).await?;
            let content = match &looked.content {
                Some(Ok(content)) => content,
                Some(Err(problem)) => return Err(problem.clone()),
                None => return Err(Problem::Text("was not read")),
            };
            let [before, after] = content.stamps;
            let is_whole = before == after;
            let has_settled = !content.is_recent || previous == Some(before);
            if is_whole && (has_settled || rereads == MAX_REREADS) {
                return Ok(FileContent(looked));
            }
            if rereads == MAX_REREADS {
                return Err(Problem::Text("changes while it is being read"));
            }
            previous = Some(after);
            rereads += 1;
            sleep(REREAD_AFTER).await;
        }
    }

    /// Looks at the file on another thread.
    async fn look(&self, wants: Wants) -> Result<Arc<Looked>, Problem> {
        if runtime::current().is_none() {
            return Err(Problem::Text("there is no tokio runtime to read it on"));
        }
        let state = self.0.clone();
        let look = move |wants| {
            let looked = look::look(&state.path, wants);
            state.last_stamp.store(looked.stamp, Ordering::Release);
            looked
        };
        self.0.looks.run(wants, look).await
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

/// The content of a file, less its byte order mark. It is wiped when the last clone is dropped.
pub(crate) struct FileContent(Arc<Looked>);

impl FileContent {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match &self.0.content {
            Some(Ok(content)) => {
                content.bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&content.bytes)
            }
            _ => &[],
        }
    }
}

/// A file that cannot be used as it is, but may be later. Its text has the path and no content.
pub(crate) struct Unusable {
    path: Arc<Path>,
    problem: Problem,
}

/// The reason why a file cannot be used. Callers that share a look share it.
#[derive(Clone)]
pub(crate) enum Problem {
    Text(&'static str),
    Io(Arc<io::Error>),
    /// The content does not have the right form.
    #[cfg(feature = "jwt")]
    Content(crate::error::ConfigError),
}

impl Unusable {
    fn new(file: &WatchedFile, problem: Problem) -> Self {
        Self { path: file.0.path.clone(), problem }
    }

    #[cfg(feature = "jwt")]
    pub(crate) fn for_its_content(file: &WatchedFile, error: crate::error::ConfigError) -> Self {
        Self::new(file, Problem::Content(error))
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: ", self.path)?;
        match &self.problem {
            Problem::Text(text) => f.write_str(text),
            Problem::Io(_) => f.write_str("can not be read"),
            #[cfg(feature = "jwt")]
            Problem::Content(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unusable({self})")
    }
}

impl StdError for Unusable {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.problem {
            Problem::Io(error) => Some(&**error),
            _ => None,
        }
    }
}
