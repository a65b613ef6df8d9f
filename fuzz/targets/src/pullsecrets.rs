//! Credentials for registries: the name of a repository, a zero byte, docker's configuration.

pub(crate) fn run(data: &[u8]) {
    let Some((repository, content)) = crate::halves(data) else { return };
    skiff_node::fuzzing::pull_secret(content, &String::from_utf8_lossy(repository));
}
