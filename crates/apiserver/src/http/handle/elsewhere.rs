//! Requests for versions of the API that other servers serve: whose they are, and who may make them. What becomes of them is in
//! [`crate::aggregation`].

use std::sync::Arc;

use http::header::UPGRADE;
use http::{Request, Response};
use skiff_auth::Attributes;
use skiff_identity::UserInfo;
use skiff_machinery::GroupVersion;
use skiff_registry::ApiError;

use super::exchange::Exchange;
use crate::aggregation::proxy;
use crate::aggregation::registration::Registration;
use crate::http::body::Body;
use crate::http::gate::Work;
use crate::http::path::{self, RequestInfo};

impl Exchange {
    /// The APIService of the version that a path is for, if another server serves that.
    pub(super) fn elsewhere(&self, path: &str) -> Option<Arc<Registration>> {
        let aggregation = &self.server.aggregation;
        if !aggregation.is_used() {
            return None;
        }
        let (group, version) = match &self.info {
            RequestInfo::Resource(path) => (path.group.clone(), path.version.clone()),
            RequestInfo::NonResource => path::version(path)?,
        };
        aggregation.elsewhere(&GroupVersion { group: group.into(), version: version.into() })
    }

    /// Passes a request on to the server that serves its version, if its user may make it.
    pub(super) async fn pass_on(
        &self,
        user: &UserInfo,
        registration: &Arc<Registration>,
        request: Request<Body>,
    ) -> Result<Response<Body>, ApiError> {
        match &self.info {
            RequestInfo::Resource(path) => self.authorize_resource(user, path).await?,
            RequestInfo::NonResource => {
                let verb = self.method.as_str().to_ascii_lowercase();
                self.authorize(&Attributes::non_resource(user, &verb, request.uri().path())).await?;
            }
        }
        proxy::pass_on(&self.server.aggregation, user, registration, request).await
    }

    /// Whether a request may last: any that is upgraded, and what lasts here. All of them take places among those that do, so
    /// that a server which hangs takes none of those for requests that are served here.
    pub(super) fn lasts_there(&self, request: &Request<Body>) -> bool {
        request.headers().contains_key(UPGRADE) || self.work() != Work::Short
    }
}
