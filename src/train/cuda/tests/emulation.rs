//! Runs the CUDA kernels on the CPU: compiles them as C++ with the machine's compiler.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::train::cuda::Kernel;

/// The program that runs kernels, built once; none where there is no C++ compiler.
pub(crate) fn emulator() -> Option<&'static Emulator> {
    static EMULATOR: OnceLock<Option<Emulator>> = OnceLock::new();
    EMULATOR.get_or_init(Emulator::build).as_ref()
}

/// A built emulator.
pub(crate) struct Emulator {
    program: PathBuf,
    /// Holds the program.
    _folder: tempfile::TempDir,
}

/// One launch.
pub(crate) struct Launch<'a> {
    pub kernel: &'a str,
    pub blocks: usize,
    /// Contents of the arrays, as bytes.
    pub arrays: Vec<Vec<u8>>,
    /// Integers, or the bits of floats.
    pub numbers: Vec<u64>,
}

impl Emulator {
    fn build() -> Option<Self> {
        let compiler = std::env::var("CXX").unwrap_or("c++".into());
        let folder = tempfile::tempdir().ok()?;
        let program = folder.path().join("emulate");
        let compile = |source: &Path| {
            // Nothing may be contracted or reordered that a GPU would not.
            Command::new(&compiler)
                .args(["-std=c++20", "-O1", "-ffp-contract=off", "-pthread", "-o"])
                .args([&program, source])
                .output()
        };
        // A compiler that is missing, or too old for what the program needs, is no failure.
        let probe = folder.path().join("probe.cpp");
        std::fs::write(&probe, "#include <barrier>\nint main() {}\n").ok()?;
        let works = compile(&probe).is_ok_and(|output| output.status.success());
        if !works {
            println!("skipped: '{compiler}' does not compile C++20");
            return None;
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/train/cuda/emulate.cpp");
        let output = compile(&source).expect("the compiler ran before");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        Some(Self {
            program,
            _folder: folder,
        })
    }

    /// The arrays after a launch.
    pub fn launch(&self, launch: &Launch<'_>) -> Vec<Vec<u8>> {
        let mut request = vec![0; 32];
        request[..launch.kernel.len()].copy_from_slice(launch.kernel.as_bytes());
        let count = |n: usize| u32::try_from(n).expect("a small number").to_le_bytes();
        request.extend(count(launch.blocks));
        request.extend(count(launch.arrays.len()));
        for array in &launch.arrays {
            request.extend(count(array.len()));
            request.extend(array);
        }
        request.extend(count(launch.numbers.len()));
        for number in &launch.numbers {
            request.extend(number.to_le_bytes());
        }
        let mut child = Command::new(&self.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program was built");
        let mut input = child.stdin.take().expect("piped");
        // The program reads the whole request before it answers.
        input.write_all(&request).expect("the program reads");
        drop(input);
        let mut answer = Vec::new();
        let mut output = child.stdout.take().expect("piped");
        output.read_to_end(&mut answer).expect("the program writes");
        assert!(child.wait().expect("it ends").success());
        let mut rest = &answer[..];
        let take = |array: &Vec<u8>| {
            let (head, tail) = rest.split_at(array.len());
            rest = tail;
            head.to_vec()
        };
        launch.arrays.iter().map(take).collect()
    }

    /// What a kernel with the signature `KERNEL` makes of `inputs`. Values that it does
    /// not write are NaN.
    pub fn run(&self, kernel: Kernel, inputs: &[&[f32]], outputs: usize) -> Vec<f32> {
        let mut arrays = vec![to_bytes(&vec![f32::NAN; outputs])];
        arrays.extend(inputs.iter().map(|input| to_bytes(input)));
        let (name, sizes) = kernel.launch(outputs);
        let launch = Launch {
            kernel: name,
            blocks: kernel.blocks(outputs),
            arrays,
            numbers: sizes.iter().map(|n| *n as u64).collect(),
        };
        from_bytes(&self.launch(&launch)[0])
    }
}

/// Values as bytes.
pub(crate) fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Values of bytes.
pub(crate) fn from_bytes(bytes: &[u8]) -> Vec<f32> {
    let value = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().expect("four bytes"));
    bytes.chunks_exact(4).map(value).collect()
}
