//! Bodies in YAML, aliases and all.

pub(crate) fn run(body: &[u8]) {
    skiff_apiserver::fuzzing::yaml(body);
}
