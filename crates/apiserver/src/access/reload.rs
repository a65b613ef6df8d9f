//! Files that are read again when they change.
//!
//! The kernel tells of changes in a file's directory, which is also where a file is replaced by another one. A file behind links
//! (a ConfigMap of a pod) may change elsewhere, so it is looked at once a minute, too, as kube-apiserver does.

use std::path::PathBuf;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::changes::Changes;

/// How often a file is looked at, whatever is told.
const AT_LEAST: Duration = Duration::from_secs(60);

/// Calls `changed` whenever a file says something else than before, until the shutdown. What could not be read is nothing new.
pub(super) async fn on_change(
    file: PathBuf,
    shutdown: CancellationToken,
    mut changed: impl FnMut() -> BoxFuture<'static, ()> + Send,
) {
    let told = Changes::beside(&file);
    if let Err(error) = &told {
        tracing::warn!(file = %file.display(), %error, "changes of a file are noticed within a minute only");
    }
    let mut before = std::fs::read(&file).ok();
    loop {
        let next = async {
            let minute = tokio::time::sleep(AT_LEAST);
            match &told {
                Ok(told) => tokio::select! {
                    () = minute => {}
                    Ok(()) = told.next() => {}
                },
                Err(_) => minute.await,
            }
        };
        if shutdown.run_until_cancelled(next).await.is_none() {
            return;
        }
        let now = std::fs::read(&file).ok();
        if now.is_some() && now != before {
            changed().await;
            before = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_is_written_or_replaced_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.yaml");
        std::fs::write(&file, "one").unwrap();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let shutdown = CancellationToken::new();
        let watched = tokio::spawn(on_change(file.clone(), shutdown.clone(), move || {
            tell.send(()).unwrap();
            Box::pin(std::future::ready(()))
        }));
        let mut noticed = async || {
            let wait = tokio::time::timeout(Duration::from_secs(20), told.recv());
            wait.await.expect("noticed in time").expect("the watcher runs");
        };
        // It looks before it waits; a write that comes earlier is what it starts from.
        tokio::task::yield_now().await;
        std::fs::write(&file, "two").unwrap();
        noticed().await;
        let other = dir.path().join("b.yaml");
        std::fs::write(&other, "three").unwrap();
        std::fs::rename(&other, &file).unwrap();
        noticed().await;
        shutdown.cancel();
        watched.await.unwrap();
    }
}
