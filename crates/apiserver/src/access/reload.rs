//! Files that are read again when they change.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use crate::changes::Followed;

/// Calls `changed` whenever a file says something else than before, until the shutdown. What could not be read is nothing new.
pub(super) async fn on_change(file: PathBuf, shutdown: CancellationToken, mut changed: impl FnMut() + Send) {
    let text = std::fs::read(&file).unwrap_or_default();
    let mut followed = Followed::since(file, text);
    while let Some(found) = shutdown.run_until_cancelled(followed.next()).await {
        if found.is_ok_and(|said| said.is_new) {
            changed();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_cannot_be_read_is_nothing_new() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.yaml");
        std::fs::write(&file, "one").unwrap();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let shutdown = CancellationToken::new();
        let (tell, read) = (tell, file.clone());
        let watched = tokio::spawn(on_change(file.clone(), shutdown.clone(), move || {
            tell.send(std::fs::read_to_string(&read).unwrap()).unwrap();
        }));
        // It looks before it waits; a write that comes earlier is what it starts from.
        tokio::task::yield_now().await;
        std::fs::remove_file(&file).unwrap();
        tokio::task::yield_now().await;
        std::fs::write(dir.path().join("b.yaml"), "two").unwrap();
        std::fs::rename(dir.path().join("b.yaml"), &file).unwrap();
        let wait = tokio::time::timeout(Duration::from_secs(20), told.recv());
        assert_eq!(wait.await.expect("noticed in time").as_deref(), Some("two"));
        shutdown.cancel();
        watched.await.unwrap();
    }
}
