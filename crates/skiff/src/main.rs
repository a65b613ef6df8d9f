//! skiff: a complete Kubernetes cluster in one binary.
fn main() {
    println!("skiff");
}
