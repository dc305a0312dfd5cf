//! The channels and locks of tokio, with a point before each operation. At a point, another task
//! may run.
//!
//! Each operation counts as atomic, because tokio tests its own with loom.

pub use tokio::sync::MutexGuard;

use races_std::point;

#[derive(Debug)]
pub struct Mutex<T>(tokio::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Self(tokio::sync::Mutex::new(value))
    }

    pub async fn lock(&self) -> MutexGuard<'_, T> {
        point();
        self.0.lock().await
    }
}

#[derive(Debug, Default)]
pub struct Notify(tokio::sync::Notify);

impl Notify {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn notified(&self) -> tokio::sync::futures::Notified<'_> {
        point();
        self.0.notified()
    }

    pub fn notify_one(&self) {
        point();
        self.0.notify_one();
    }

    pub fn notify_waiters(&self) {
        point();
        self.0.notify_waiters();
    }
}

pub mod watch {
    use races_std::point;
    pub use tokio::sync::watch::Ref;
    pub use tokio::sync::watch::error::RecvError;

    #[derive(Clone, Debug)]
    pub struct Sender<T>(tokio::sync::watch::Sender<T>);

    pub struct Receiver<T>(tokio::sync::watch::Receiver<T>);

    impl<T> Sender<T> {
        pub fn new(value: T) -> Self {
            Self(tokio::sync::watch::Sender::new(value))
        }

        pub fn subscribe(&self) -> Receiver<T> {
            point();
            Receiver(self.0.subscribe())
        }

        pub fn receiver_count(&self) -> usize {
            point();
            self.0.receiver_count()
        }

        pub fn send_replace(&self, value: T) -> T {
            point();
            self.0.send_replace(value)
        }
    }

    impl<T> Receiver<T> {
        pub async fn wait_for(
            &mut self,
            is_it: impl FnMut(&T) -> bool,
        ) -> Result<Ref<'_, T>, RecvError> {
            point();
            self.0.wait_for(is_it).await
        }
    }
}

pub mod oneshot {
    use races_std::point;
    pub use tokio::sync::oneshot::Receiver;

    pub struct Sender<T>(tokio::sync::oneshot::Sender<T>);

    pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        (Sender(sender), receiver)
    }

    impl<T> Sender<T> {
        pub fn send(self, value: T) -> Result<(), T> {
            point();
            self.0.send(value)
        }

        pub fn is_closed(&self) -> bool {
            point();
            self.0.is_closed()
        }

        pub async fn closed(&mut self) {
            point();
            self.0.closed().await;
        }
    }
}
