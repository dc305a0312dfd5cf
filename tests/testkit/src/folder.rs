use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Returns a path that no other test has.
fn unique_path() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("tower-oauth2-{}-{count}", std::process::id()))
}

/// A temporary folder for one test, which is deleted on drop.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let path = unique_path();
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Returns the path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Replaces a file by renaming a new one. No reader sees it half written.
    pub fn replace(&self, name: &str, content: &str) {
        let new = self.path("new");
        fs::write(&new, content).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A temporary file, which is deleted on drop.
pub struct File {
    _folder: Folder,
    path: PathBuf,
}

impl File {
    pub fn new(name: &str, content: &str) -> Self {
        let folder = Folder::new();
        let path = folder.path(name);
        fs::write(&path, content).unwrap();
        Self { _folder: folder, path }
    }

    pub fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}
