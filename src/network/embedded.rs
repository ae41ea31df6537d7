//! The models that the library carries.

/// A model file that the library carries.
pub(crate) struct Embedded {
    /// Its name.
    pub name: &'static str,
    /// The first 8 bytes of its digest, by which files name it.
    pub id: [u8; 8],
    /// The file.
    pub bytes: &'static [u8],
}

/// All of them.
pub(crate) static ALL: [Embedded; 2] = [
    Embedded {
        name: "base",
        id: 0xeac6_13ae_9c22_187f_u64.to_be_bytes(),
        bytes: include_bytes!("../../weights/base.safetensors"),
    },
    Embedded {
        name: "base-ssim",
        id: 0xb1af_e541_2a9c_a583_u64.to_be_bytes(),
        bytes: include_bytes!("../../weights/base-ssim.safetensors"),
    },
];

/// The place of that trained for squared error.
pub(crate) const BASE: usize = 0;

/// The place of that trained on from it for what people see.
pub(crate) const BASE_SSIM: usize = 1;

/// The one of this name.
#[cfg(feature = "cli")]
pub(crate) fn named(name: &str) -> Option<&'static Embedded> {
    ALL.iter().find(|model| model.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::integer::{IntegerWeights, digest};

    #[test]
    fn names_and_ids_are_those_of_the_files() {
        for model in &ALL {
            let digest = digest(model.bytes).expect("a model file");
            assert_eq!(digest[..8], model.id, "{}", model.name);
            let weights = IntegerWeights::from_bytes(model.bytes).expect("it is valid");
            assert_eq!(weights.config.name, model.name);
        }
    }
}
