//! The types from which all definitions are reached.

use k8s_openapi::api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

/// Generates the schemas of all roots and of everything that they refer to, by definition name.
pub(super) fn generate() -> Map<String, Value> {
    let settings = SchemaSettings::openapi3().with(|s| {
        s.definitions_path = "/components/schemas".into();
        s.transforms.clear();
    });
    let mut generator = settings.into_generator();
    add_core(&mut generator);
    add_groups(&mut generator);
    generator.take_definitions(false)
}

/// Adds a root and what it refers to; the reference that comes back is of no use.
fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
    drop(generator.subschema_for::<T>());
}

fn add_core(generator: &mut SchemaGenerator) {
    use api::core::v1;
    add::<v1::Binding>(generator);
    add::<v1::ConfigMap>(generator);
    add::<v1::Endpoints>(generator);
    add::<v1::Event>(generator);
    add::<v1::Namespace>(generator);
    add::<v1::Node>(generator);
    add::<v1::Pod>(generator);
    add::<v1::ReplicationController>(generator);
    add::<v1::Secret>(generator);
    add::<v1::Service>(generator);
    add::<v1::ServiceAccount>(generator);
}

fn add_groups(generator: &mut SchemaGenerator) {
    add::<meta::DeleteOptions>(generator);
    add::<meta::ListMeta>(generator);
    add::<meta::Status>(generator);
    add::<api::authentication::v1::SelfSubjectReview>(generator);
    add::<api::authentication::v1::TokenRequest>(generator);
    add::<api::authentication::v1::TokenReview>(generator);
    add::<api::authorization::v1::LocalSubjectAccessReview>(generator);
    add::<api::authorization::v1::SelfSubjectAccessReview>(generator);
    add::<api::authorization::v1::SelfSubjectRulesReview>(generator);
    add::<api::authorization::v1::SubjectAccessReview>(generator);
    add::<api::autoscaling::v1::Scale>(generator);
    add::<api::coordination::v1::Lease>(generator);
    add::<api::discovery::v1::EndpointSlice>(generator);
    add::<api::events::v1::Event>(generator);
    add::<api::networking::v1::IPAddress>(generator);
    add::<api::networking::v1::ServiceCIDR>(generator);
    add::<api::policy::v1::Eviction>(generator);
    add::<api::rbac::v1::ClusterRole>(generator);
    add::<api::rbac::v1::ClusterRoleBinding>(generator);
    add::<api::rbac::v1::Role>(generator);
    add::<api::rbac::v1::RoleBinding>(generator);
}
