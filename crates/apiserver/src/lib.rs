//! The skiff API server: one request pipeline for every kind.

pub mod auth;
pub mod bootstrap;
pub mod pki;
