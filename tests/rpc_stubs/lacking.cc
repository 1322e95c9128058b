// Not part of any program: four services, each without one of its procedures, which the compiler
// must refuse (CMakeLists.txt).
#include "shapes.rpc.h"

namespace cleanroom::test::shapes::v1 {

#define ONE Awaitable<Result<Answer>> One(rpc::CallContext&, Question) override;
#define POUR \
  Awaitable<Result<void>> Pour(rpc::CallContext&, Question, rpc::Writer<Answer::Part>&) override;
#define GATHER Awaitable<Result<Answer>> Gather(rpc::CallContext&, rpc::Reader<Question>&) override;
#define TALK                                                              \
  Awaitable<Result<void>> Talk(rpc::CallContext&, rpc::Reader<Question>&, \
                               rpc::Writer<Answer::Part>&) override;

struct LacksOne : ShapesService {
  POUR GATHER TALK
};
struct LacksPour : ShapesService {
  ONE GATHER TALK
};
struct LacksGather : ShapesService {
  ONE POUR TALK
};
struct LacksTalk : ShapesService {
  ONE POUR GATHER
};
struct LacksNone : ShapesService {
  ONE POUR GATHER TALK
};

LacksNone none;
LacksOne no_one;
LacksPour no_pour;
LacksGather no_gather;
LacksTalk no_talk;

}  // namespace cleanroom::test::shapes::v1
