// Loads a SavedModel as TensorFlow Serving does, without Python or Keras, and runs one signature.
//
//   loader MODEL SIGNATURE REQUESTS BATCH
//
// REQUESTS holds serialized TensorProto, each behind its length (8 bytes, little-endian). A string
// tensor is cut into batches of BATCH rows (0: as it is). Answers go to standard output: for each
// batch and output a line "name", the length of its serialized TensorProto, then that.

#include <cstdint>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_util.h"
#include "tensorflow/core/framework/tensor.pb.h"

namespace tf = tensorflow;

namespace {

bool Read(std::istream& in, tf::TensorProto* proto) {
  uint64_t length = 0;
  if (!in.read(reinterpret_cast<char*>(&length), sizeof(length))) return false;
  std::string bytes(length, '\0');
  in.read(bytes.data(), length);
  return proto->ParseFromString(bytes);
}

void Write(const std::string& name, const tf::Tensor& tensor) {
  tf::TensorProto proto;
  tensor.AsProtoField(&proto);  // NumPy's side cannot read the content of a string tensor
  const std::string bytes = proto.SerializeAsString();
  std::cout << name << "\n" << bytes.size() << "\n" << bytes;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: loader MODEL SIGNATURE REQUESTS BATCH\n";
    return 2;
  }
  const int64_t batch = std::stoll(argv[4]);
  tf::SavedModelBundle bundle;
  tf::Status status = tf::LoadSavedModel({}, {}, argv[1], {"serve"}, &bundle);
  if (!status.ok()) {
    std::cerr << status.ToString() << "\n";
    return 1;
  }
  const auto& signatures = bundle.meta_graph_def.signature_def();
  const auto found = signatures.find(argv[2]);
  if (found == signatures.end()) {
    std::cerr << "no signature " << argv[2] << "\n";
    return 1;
  }
  const tf::SignatureDef& signature = found->second;
  const std::string feed = signature.inputs().begin()->second.name();
  std::vector<std::string> names, fetches;
  for (const auto& output : signature.outputs()) {
    names.push_back(output.first);
    fetches.push_back(output.second.name());
  }
  std::ifstream requests(argv[3], std::ios::binary);
  tf::TensorProto proto;
  while (Read(requests, &proto)) {
    tf::Tensor whole;
    if (!whole.FromProto(proto)) return 1;
    const int64_t rows = whole.dim_size(0);
    const int64_t step = batch > 0 ? batch : rows;
    for (int64_t start = 0; start < rows; start += step) {
      // A slice of a whole tensor need not be aligned; a copy is.
      const tf::Tensor part =
          step == rows ? whole
                       : tf::tensor::DeepCopy(whole.Slice(start, std::min(start + step, rows)));
      std::vector<tf::Tensor> answers;
      status = bundle.GetSession()->Run({{feed, part}}, fetches, {}, &answers);
      if (!status.ok()) {
        std::cerr << status.ToString() << "\n";
        return 1;
      }
      for (size_t i = 0; i < names.size(); ++i) Write(names[i], answers[i]);
      std::cout << "\n0\n";
      std::cout.flush();
    }
  }
  return 0;
}
