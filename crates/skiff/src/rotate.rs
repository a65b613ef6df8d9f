//! `skiff rotate`: what the cluster signs with is replaced by another, while it runs.

use std::time::Duration;

use anyhow::Context;
use kube::Client;
use serde_json::Value;
use skiff_pki::{Earlier, rotate_token_key};

use crate::args::{RotateArgs, RotateCommand};
use crate::{daemon, preflight, server, status};

/// How long a server may take to sign with a key that it has been given.
const TAKEN: Duration = Duration::from_secs(10);
/// How often it is asked: it tells nobody.
const ASKED: Duration = Duration::from_millis(50);

/// Replaces the key of ServiceAccount tokens. Returns once a server that runs uses the new one; any other does when it starts.
pub(crate) fn run(args: &RotateArgs) -> anyhow::Result<()> {
    preflight::root()?;
    let layout = args.layout.layout();
    let RotateCommand::ServiceAccountKey { revoke } = args.command;
    let earlier = if revoke { Earlier::Revoked } else { Earlier::Believed };
    let id = rotate_token_key(&layout.pki(), earlier)?;
    if daemon::running_on(&layout.server_record())?.is_some() {
        server::use_ring();
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let taken = async { is_used(&status::client(&layout).await?, &id).await };
        let taken = tokio.block_on(async { tokio::time::timeout(TAKEN, taken).await });
        taken.with_context(|| {
            format!("the server does not sign with the new key {id} yet; its log may say why")
        })??;
    }
    let others = if revoke {
        "those of earlier keys are not believed any more"
    } else {
        "those of earlier keys are still believed"
    };
    skiff_print::line(format_args!("the new key of tokens is {id}; {others}"))?;
    Ok(())
}

/// Waits until the server publishes the key first, as the one that signs.
async fn is_used(client: &Client, id: &str) -> anyhow::Result<()> {
    loop {
        let (_, keys) = status::get(client, "/openid/v1/jwks").await?;
        let keys: Value = serde_json::from_str(&keys).context("read the published keys of tokens")?;
        if keys["keys"][0]["kid"] == id {
            return Ok(());
        }
        tokio::time::sleep(ASKED).await;
    }
}
