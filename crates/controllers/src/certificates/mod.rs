//! Requests for certificates: those of node agents are approved if RBAC lets them have one, approved ones are signed by the
//! cluster's authority if they are for one of its four signers, and all of them go after a while.

mod decide;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client};
use skiff_identity::CertificateRequest;
use skiff_informer::{Next, ObjectKey, is_conflict, is_not_found};

use crate::environment::{Controller, Environment};
use crate::informers::Informers;
use decide::{Permission, Step};

const NAME: &str = "certificate-controller";
const GROUP: &str = "certificates.k8s.io";

/// Makes certificates of the cluster's authority.
pub trait Signer: fmt::Debug + Send + Sync {
    /// The certificate that a request asks for, in PEM: for these usages, valid for `life`. Else why there is none.
    ///
    /// # Errors
    /// The text is for people.
    fn sign(
        &self,
        request: &CertificateRequest,
        usages: &[String],
        life: SignedDuration,
    ) -> Result<String, String>;
}

/// A request that could not be served.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot {action} the CertificateSigningRequest {name}")]
    Write { action: &'static str, name: String, source: kube::Error },
    #[error("cannot sign the CertificateSigningRequest {name}: {why}")]
    Sign { name: String, why: String },
}

/// What the controller needs.
struct Office {
    client: Client,
    informers: Informers,
    signer: Arc<dyn Signer>,
}

/// Subscribes to requests and returns the running controller; it idles if there is no signer.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let Some(signer) = environment.config.signer.clone() else { return Box::pin(async {}) };
    let informers = environment.informers.clone();
    let queue = environment.vitals.queue("certificates");
    let wake = queue.clone();
    informers.signing_requests.subscribe(move |change| wake.add(change.key.clone()));
    let requests = informers.signing_requests.clone();
    let office = Office { client: environment.client(NAME), informers, signer };
    environment.reconciler(queue, &[&requests], 2, office, |office, key| office.serve(key).boxed())
}

impl Office {
    async fn serve(&self, key: ObjectKey) -> Result<Next, Error> {
        let Some(request) = self.informers.signing_requests.get(&key) else { return Ok(Next::Done) };
        match decide::step(&request, Timestamp::now()) {
            Step::Wait(time) => Ok(Next::After(time)),
            Step::Delete => self.delete(&request, key.name()).await,
            Step::Sign { asked, life } => self.sign(&request, &asked, life).await,
            Step::Fail(why) => {
                let mut failed = (*request).clone();
                add_condition(&mut failed, "Failed", "SignerValidationFailure", why);
                self.write(&failed, "status").await
            }
            Step::Ask(permissions) => self.approve(&request, permissions).await,
        }
    }

    async fn delete(&self, request: &CertificateSigningRequest, name: &str) -> Result<Next, Error> {
        let preconditions = Preconditions { uid: request.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.api().delete(name, &params).await {
            Err(error) if !is_not_found(&error) && !is_conflict(&error) => {
                Err(wrong("delete", request, error))
            }
            _ => Ok(Next::Done),
        }
    }

    async fn sign(
        &self,
        request: &CertificateSigningRequest,
        asked: &CertificateRequest,
        life: SignedDuration,
    ) -> Result<Next, Error> {
        let usages = request.spec.usages.as_deref().unwrap_or_default();
        let certificate =
            self.signer.sign(asked, usages, life).map_err(|why| Error::Sign { name: name(request), why })?;
        let mut signed = request.clone();
        signed.status.get_or_insert_default().certificate = Some(ByteString(certificate.into_bytes()));
        self.write(&signed, "status").await
    }

    /// Approves a request whose user may have such a certificate. Others are left to people.
    async fn approve(
        &self,
        request: &CertificateSigningRequest,
        permissions: Vec<Permission>,
    ) -> Result<Next, Error> {
        for permission in permissions {
            let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
            let review = reviews.create(&PostParams::default(), &review(request, permission)).await;
            let review = review.map_err(|source| wrong("ask about", request, source))?;
            if review.status.is_some_and(|status| status.allowed) {
                let mut approved = request.clone();
                add_condition(&mut approved, "Approved", "AutoApproved", permission.message().to_owned());
                return self.write(&approved, "approval").await;
            }
        }
        Ok(Next::After(decide::until_old(request, Timestamp::now())))
    }

    async fn write(&self, request: &CertificateSigningRequest, part: &'static str) -> Result<Next, Error> {
        let (name, params) = (name(request), PostParams::default());
        match self.api().replace_subresource(part, &name, &params, request).await {
            // Whoever changed it wakes the controller again.
            Err(error) if is_conflict(&error) || is_not_found(&error) => Ok(Next::Done),
            Err(source) => Err(wrong("write", request, source)),
            Ok(_) => Ok(Next::Done),
        }
    }

    fn api(&self) -> Api<CertificateSigningRequest> {
        Api::all(self.client.clone())
    }
}

fn name(request: &CertificateSigningRequest) -> String {
    request.metadata.name.clone().unwrap_or_default()
}

fn wrong(action: &'static str, request: &CertificateSigningRequest, source: kube::Error) -> Error {
    Error::Write { action, name: name(request), source }
}

fn add_condition(request: &mut CertificateSigningRequest, kind: &str, reason: &str, message: String) {
    let now = Some(Time(Timestamp::now()));
    let status: &mut CertificateSigningRequestStatus = request.status.get_or_insert_default();
    status.conditions.get_or_insert_default().push(CertificateSigningRequestCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: now.clone(),
        last_transition_time: now,
    });
}

/// Whether the user who asks may.
fn review(request: &CertificateSigningRequest, permission: Permission) -> SubjectAccessReview {
    let spec = &request.spec;
    let extra: BTreeMap<String, Vec<String>> = spec.extra.clone().unwrap_or_default();
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: spec.username.clone(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone(),
            extra: Some(extra),
            resource_attributes: Some(ResourceAttributes {
                group: Some(GROUP.to_owned()),
                resource: Some("certificatesigningrequests".to_owned()),
                subresource: Some(permission.subresource().to_owned()),
                verb: Some("create".to_owned()),
                version: Some("*".to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

/// How long the controller looks away at most: requests that wait for people are looked at again when they are old.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
