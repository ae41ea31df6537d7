//! What programs use: a decoder and an encoder that are asked step by step, and the `image` crate's
//! traits for both. Everything they do is done by [`codec`](crate::codec).

mod decoder;
mod encoder;
mod image_crate;
mod model;
mod pictures;
mod progress;

pub use decoder::{Decoder, Info, decode};
pub use encoder::{Encoder, encode};
pub use image_crate::register_image_hooks;
pub use model::Model;
