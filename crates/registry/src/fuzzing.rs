//! Decoders of this crate for the fuzz targets.

/// Reads a body in YAML.
pub fn yaml(body: &[u8]) {
    drop(crate::pipeline::yaml::to_json(body));
}
