//! What the fuzz targets share: the tiny model of the tests, and a mutator that keeps the outside of
//! `.aec` files right.

use std::sync::LazyLock;

use aec::unstable::Model;

#[path = "../../tests/it/common/checks.rs"]
pub mod checks;
#[path = "../../tests/it/common/layout.rs"]
#[allow(dead_code)]
mod layout;
pub mod mutate;
#[path = "../../tests/it/common/symbols.rs"]
mod symbols;

/// The tiny model of the golden vectors.
pub fn model() -> &'static Model {
    static MODEL: LazyLock<Model> = LazyLock::new(|| {
        Model::from_bytes(include_bytes!("../../tests/vectors/tiny.safetensors"))
            .expect("the committed model is valid")
    });
    &MODEL
}
