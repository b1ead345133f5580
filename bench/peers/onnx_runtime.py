"""ONNX Runtime: a model of one SoftmaxCrossEntropyLoss, into an output that exists. It has no gradients."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from peers.peer import Peer as Base
from peers.peer import Unsupported

TYPES = {"f32": TensorProto.FLOAT, "f64": TensorProto.DOUBLE, "f16": TensorProto.FLOAT16}


def model(case):
    labels = case.shape[:1] + case.shape[2:]
    node = helper.make_node("SoftmaxCrossEntropyLoss", ["x", "labels"], ["loss"], reduction="mean")
    graph = helper.make_graph([node], "loss", [helper.make_tensor_value_info("x", TYPES[case.dtype], case.shape),
                                               helper.make_tensor_value_info("labels", TensorProto.INT64, labels)],
                              [helper.make_tensor_value_info("loss", TYPES[case.dtype], [])])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


class Peer(Base):
    def version(self):
        return f"ONNX Runtime {onnxruntime.__version__}"

    def prepare(self, case, x, targets, slots):
        if case.kind != "softmax" or case.output != "loss":
            raise Unsupported("has the softmax loss only, without gradient")
        if case.dtype not in TYPES:
            raise Unsupported(f"takes no {case.dtype}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        try:
            session = onnxruntime.InferenceSession(model(case), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise Unsupported(f"refuses the model: {error}") from error
        loss = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros((), x.dtype))
        bindings = []
        for _ in range(slots):
            binding = session.io_binding()
            binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(x.copy()))
            binding.bind_ortvalue_input("labels", onnxruntime.OrtValue.ortvalue_from_numpy(targets.copy()))
            binding.bind_ortvalue_output("loss", loss)
            bindings.append(binding)

        def run(slot):
            session.run_with_iobinding(bindings[slot])
            return loss, None
        return {"bound": run}

    def numpy(self, array):
        return array.numpy()
