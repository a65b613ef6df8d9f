//! What every command works with: the options that go with each, the cluster, and its kinds, each read when first needed.

use kube::config::{KubeConfigOptions, Kubeconfig};
use skiff_pki::kubeconfig::{read_config, read_usual_config};
use tokio::sync::OnceCell;

use crate::api::Api;
use crate::error::Error;
use crate::line::{Flag, Given};
use crate::resources::Resources;

pub(crate) const NAMESPACE: Flag =
    Flag::text("namespace", "Namespace to act in; that of the context when not given").short('n');
pub(crate) const KUBECONFIG: Flag = Flag::text("kubeconfig", "Path of the kubeconfig");
pub(crate) const CONTEXT: Flag =
    Flag::text("context", "Context of the kubeconfig; the current one when not given");
const CLUSTER: Flag = Flag::text("cluster", "Cluster of the kubeconfig; that of the context when not given");
const USER: Flag = Flag::text("user", "User of the kubeconfig; that of the context when not given");
const AS: Flag = Flag::text("as", "User to act as");
const AS_GROUP: Flag = Flag::each("as-group", "Group to act as a member of; may be repeated");
const AS_UID: Flag = Flag::text("as-uid", "UID to act with");
const TOKEN: Flag = Flag::text("token", "Bearer token instead of the user's credentials");
const REQUEST_TIMEOUT: Flag = Flag::text(
    "request-timeout",
    "How long to wait for the answer to one request, e.g. 30s; without a bound when 0",
)
.default("0");

/// Options that go with every command.
pub(crate) const OPTIONS: &[Flag] =
    &[NAMESPACE, KUBECONFIG, CONTEXT, CLUSTER, USER, AS, AS_GROUP, AS_UID, TOKEN, REQUEST_TIMEOUT];

/// The cluster that a command is for.
pub(crate) struct Context {
    given: Given,
    api: OnceCell<Api>,
    resources: OnceCell<Resources>,
}

impl Context {
    pub(crate) fn new(given: &Given) -> Self {
        Self { given: given.clone(), api: OnceCell::new(), resources: OnceCell::new() }
    }

    pub(crate) async fn api(&self) -> Result<&Api, Error> {
        self.api.get_or_try_init(async || Api::new(self.config().await?)).await
    }

    /// The kinds that the cluster serves.
    pub(crate) async fn resources(&self) -> Result<&Resources, Error> {
        self.resources.get_or_try_init(async || Resources::discover(self.api().await?).await).await
    }

    /// The namespace to act in.
    pub(crate) async fn namespace(&self) -> Result<&str, Error> {
        Ok(&self.api().await?.namespace)
    }

    /// The namespace, when the command line names it.
    pub(crate) fn named_namespace(&self) -> Option<&str> {
        self.given.some(&NAMESPACE)
    }

    /// The kubeconfig as it is on disk.
    pub(crate) fn kubeconfig(&self) -> Result<Kubeconfig, Error> {
        let read = match self.given.some(&KUBECONFIG) {
            Some(path) => read_config(path),
            None => read_usual_config(),
        };
        read.map_err(|error| Error::Usage(skiff_errors::error_text(&error)))
    }

    async fn config(&self) -> Result<kube::Config, Error> {
        let given = &self.given;
        let text = |flag: &Flag| given.some(flag).map(str::to_owned);
        let options =
            KubeConfigOptions { context: text(&CONTEXT), cluster: text(&CLUSTER), user: text(&USER) };
        let config = kube::Config::from_custom_kubeconfig(self.kubeconfig()?, &options).await;
        let mut config = config.map_err(|error| Error::Usage(format!("no usable kubeconfig: {error}")))?;
        if let Some(namespace) = text(&NAMESPACE) {
            config.default_namespace = namespace;
        }
        if let Some(user) = text(&AS) {
            config.auth_info.impersonate = Some(user);
            let groups = given.all(&AS_GROUP);
            config.auth_info.impersonate_groups = (!groups.is_empty()).then(|| groups.to_vec());
        } else if given.is_given(&AS_GROUP) || given.is_given(&AS_UID) {
            return Err(Error::Usage(
                "requesting uid, groups or user-extra for  without impersonating a user".to_owned(),
            ));
        }
        if given.is_given(&AS_UID) {
            let uid = http::HeaderValue::from_str(given.text(&AS_UID));
            let uid = uid.map_err(|error| Error::Usage(format!("--as-uid: {error}")))?;
            config.headers.push((http::HeaderName::from_static("impersonate-uid"), uid));
        }
        if let Some(token) = text(&TOKEN) {
            config.auth_info = kube::config::AuthInfo { token: Some(token.into()), ..Default::default() };
        }
        let timeout = self.request_timeout()?;
        // Watches and logs take as long as they take: kube's own bound of some minutes is for other clients.
        config.read_timeout = timeout;
        Ok(config)
    }

    fn request_timeout(&self) -> Result<Option<std::time::Duration>, Error> {
        let text = self.given.text(&REQUEST_TIMEOUT);
        let nanos = match text.parse::<i64>() {
            Ok(seconds) => seconds.checked_mul(1_000_000_000),
            Err(_) => crate::line::duration::parse(text),
        };
        let nanos = nanos.ok_or_else(|| {
            Error::usage(
                "Invalid timeout value. Timeout must be a single integer in seconds, or an integer followed by a corresponding time unit (e.g. 1s | 2m | 3h)",
            )
        })?;
        Ok(u64::try_from(nanos).ok().filter(|nanos| *nanos > 0).map(std::time::Duration::from_nanos))
    }
}
