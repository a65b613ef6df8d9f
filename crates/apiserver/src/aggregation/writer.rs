//! Writes of APIServices, through the API as everybody's.

use http::{Method, Request};
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use skiff_kinds::api_service::Availability;
use skiff_machinery::Object;

const PATH: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const MANAGER: &str = "fieldManager=kube-apiserver";
/// How often an object that changes all the time is read and written again.
const ATTEMPTS: usize = 5;

/// The API server as a client of itself.
#[derive(Clone)]
pub(crate) struct Writer(Client);

impl Writer {
    pub(crate) fn new(itself: Client) -> Self {
        Self(itself)
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> kube::Result<Object> {
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.body(body).map_err(kube::Error::HttpError)?;
        let tree: Value = self.0.request(request).await?;
        Ok(Object::from_value(tree).unwrap_or_default())
    }

    /// Says in the APIService of this UID whether it can be used; whether that was new.
    pub(super) async fn tell(&self, name: &str, uid: &str, found: &Availability) -> kube::Result<bool> {
        let path = format!("{PATH}/{name}");
        for attempt in 1.. {
            let mut service = match self.send(Method::GET, &path, None).await {
                Err(error) if is_answered(&error, 404) => return Ok(false),
                service => service?,
            };
            if service.uid() != uid || found.is_told_by(&service) {
                return Ok(false);
            }
            let conditions = found.among(&service, Timestamp::now());
            service.set(&["status", "conditions"], conditions);
            let path = format!("{path}/status?{MANAGER}");
            match self.send(Method::PUT, &path, Some(&service.into_value())).await {
                Err(error) if is_answered(&error, 409) && attempt < ATTEMPTS => {}
                written => return written.map(|_| true),
            }
        }
        unreachable!("the loop ends with its last attempt")
    }

    /// Someone else may have made it meanwhile.
    pub(super) async fn create(&self, service: &Object) -> kube::Result<()> {
        let body = Value::Object(service.as_map().clone());
        match self.send(Method::POST, &format!("{PATH}?{MANAGER}"), Some(&body)).await {
            Err(error) if is_answered(&error, 409) => Ok(()),
            made => made.map(drop),
        }
    }

    /// Gives an APIService the spec that it should have.
    pub(super) async fn correct(&self, wanted: &Object) -> kube::Result<()> {
        let path = format!("{PATH}/{}", wanted.name());
        let mut service = self.send(Method::GET, &path, None).await?;
        service.set(&["spec"], wanted.get(&["spec"]).cloned().unwrap_or_default());
        let body = service.into_value();
        self.send(Method::PUT, &format!("{path}?{MANAGER}"), Some(&body)).await.map(drop)
    }

    pub(super) async fn delete(&self, name: &str, uid: &str) -> kube::Result<()> {
        let options = json!({"preconditions": {"uid": uid}});
        match self.send(Method::DELETE, &format!("{PATH}/{name}"), Some(&options)).await {
            Err(error) if is_answered(&error, 404) || is_answered(&error, 409) => Ok(()),
            deleted => deleted.map(drop),
        }
    }
}

fn is_answered(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}
