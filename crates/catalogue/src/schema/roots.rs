//! The types from which all definitions are reached.

use k8s_openapi::api;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as extensions;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

/// Generates the schemas of the roots that are wanted and of everything that they refer to, by name.
pub(super) fn generate(wanted: &dyn Fn(&str) -> bool) -> Map<String, Value> {
    let settings = SchemaSettings::openapi3().with(|s| {
        s.definitions_path = "/components/schemas".into();
        s.transforms.clear();
    });
    let mut roots = Roots { generator: settings.into_generator(), wanted };
    add_core(&mut roots);
    add_groups(&mut roots);
    roots.generator.take_definitions(false)
}

struct Roots<'w> {
    generator: SchemaGenerator,
    wanted: &'w dyn Fn(&str) -> bool,
}

impl Roots<'_> {
    /// Adds a root, if it is wanted, and what it refers to.
    fn add<T: JsonSchema>(&mut self) {
        if (self.wanted)(&T::schema_name()) {
            // The reference to the root that comes back is of no use.
            drop(self.generator.subschema_for::<T>());
        }
    }
}

fn add_core(roots: &mut Roots<'_>) {
    use api::core::v1;
    roots.add::<v1::Binding>();
    roots.add::<v1::ConfigMap>();
    roots.add::<v1::Endpoints>();
    roots.add::<v1::Event>();
    roots.add::<v1::Namespace>();
    roots.add::<v1::Node>();
    roots.add::<v1::Pod>();
    roots.add::<v1::ReplicationController>();
    roots.add::<v1::Secret>();
    roots.add::<v1::Service>();
    roots.add::<v1::ServiceAccount>();
}

fn add_groups(roots: &mut Roots<'_>) {
    roots.add::<meta::DeleteOptions>();
    roots.add::<meta::ListMeta>();
    roots.add::<meta::Status>();
    roots.add::<extensions::CustomResourceDefinition>();
    roots.add::<api::authentication::v1::SelfSubjectReview>();
    roots.add::<api::authentication::v1::TokenRequest>();
    roots.add::<api::authentication::v1::TokenReview>();
    roots.add::<api::authorization::v1::LocalSubjectAccessReview>();
    roots.add::<api::authorization::v1::SelfSubjectAccessReview>();
    roots.add::<api::authorization::v1::SelfSubjectRulesReview>();
    roots.add::<api::authorization::v1::SubjectAccessReview>();
    roots.add::<api::autoscaling::v1::Scale>();
    roots.add::<api::coordination::v1::Lease>();
    roots.add::<api::discovery::v1::EndpointSlice>();
    roots.add::<api::events::v1::Event>();
    roots.add::<api::networking::v1::IPAddress>();
    roots.add::<api::networking::v1::ServiceCIDR>();
    roots.add::<api::policy::v1::Eviction>();
    roots.add::<api::rbac::v1::ClusterRole>();
    roots.add::<api::rbac::v1::ClusterRoleBinding>();
    roots.add::<api::rbac::v1::Role>();
    roots.add::<api::rbac::v1::RoleBinding>();
}
