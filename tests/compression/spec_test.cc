#include "compression/spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compression/codec.h"
#include "compression/codec_table.h"

namespace isthmus {
namespace {

using ::testing::HasSubstr;

std::string Error(const std::string& spec) {
  const auto codec = Codec::Parse(spec);
  EXPECT_FALSE(codec.ok()) << spec;
  EXPECT_EQ(codec.status().code(), absl::StatusCode::kInvalidArgument) << spec;
  const std::string message(codec.status().message());
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  return message;
}

TEST(Spec, CanonicalFormParsesToItself) {
  const struct {
    const char* text;
    const char* canonical;
  } kSpecs[] = {
      {"none", "none"},
      {"int8", "int(bits=8,group=token,sym)"},
      {"int4", "int(bits=4,group=tile,n=64,asym)"},
      {"int( 3 , tile, 32 )", "int(bits=3,group=tile,n=32,asym)"},
      {"int(bits=2)", "int(bits=2,group=tile,n=64,asym)"},
      {"int(sym,bits=1,group=channel)", "int(bits=1,group=channel,sym)"},
      {"int(bits=1,group=token,sym,range=minmax)", "int(bits=1,group=token,sym,range=minmax)"},
      {"int(5,tensor,round=stochastic,range=rms)",
       "int(bits=5,group=tensor,asym,round=stochastic,range=rms)"},
      {"int(1,range=minmax)", "int(bits=1,group=tile,n=64,asym,range=minmax)"},
      {"aqsgd(4)", "aqsgd(bits=4,first=int8,group=channel,store=ram,dtype=fp32,capacity=all)"},
      {"aqsgd(bits=2,first=fp16,dtype=bf16,capacity=100)",
       "aqsgd(bits=2,first=fp16,group=channel,store=ram,dtype=bf16,capacity=100)"},
      {"amaq(min=2,max=8,target=4)", "amaq(min=2,max=8,target=4,start=7)"},
      {"amaq(2,8,3,6)", "amaq(min=2,max=8,target=3,start=6)"},
      {"int(4,range=percentile)", "int(bits=4,group=tile,n=64,asym,range=percentile,keep=99.9)"},
      {"int(3, n=16, t=4)", "int(bits=3,group=tile,n=16,t=4,asym)"},
      {"center + hadamard(gated) + int(4)",
       "center(channel)+hadamard(block=64,gated)+int(bits=4,group=tile,n=64,asym)"},
  };
  for (const auto& spec : kSpecs) {
    const auto codec = Codec::Parse(spec.text);
    ASSERT_TRUE(codec.ok()) << codec.status();
    EXPECT_EQ((*codec)->canonical(), spec.canonical);
    const auto again = Codec::Parse((*codec)->canonical());
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ((*again)->canonical(), spec.canonical);
  }
  EXPECT_EQ((*Codec::Parse(" int( 3, tile )"))->text(), "int(3,tile)");
}

TEST(Spec, EveryRowsExampleParses) {
  int last = 0;
  for (const CodecRow& row : CodecTable()) {
    EXPECT_GT(row.number, last);
    last = row.number;
    const auto codec = Codec::Parse(row.example);
    ASSERT_TRUE(codec.ok()) << codec.status();
    EXPECT_EQ((*Codec::Parse((*codec)->canonical()))->canonical(), (*codec)->canonical());
  }
}

TEST(Spec, ErrorsNameTheArgumentAndWhatIsAllowed) {
  EXPECT_THAT(Error("zip9"), HasSubstr("expected one of none, fp16, bf16, int8, int4, int, aqsgd"));
  EXPECT_THAT(Error("zip9"), HasSubstr("got zip9"));
  EXPECT_THAT(Error("aqsgd(bits=77)"),
              HasSubstr("bits: expected a whole number from 1 to 8, got 77"));
  EXPECT_THAT(Error("aqsgd"), HasSubstr("bits"));
  EXPECT_THAT(Error("aqsgd(4,capacity=0)"), HasSubstr("capacity: expected all or"));
  EXPECT_THAT(Error("aqsgd(4,dtype=fp8)"),
              HasSubstr("dtype: expected one of fp32, bf16, int8, got fp8"));
  EXPECT_THAT(Error("int(bits=4,group=row)"),
              HasSubstr("group: expected one of tensor, channel, token, tile, got row"));
  EXPECT_THAT(Error("int(4,token,n=3)"), HasSubstr("n: expected group=tile"));
  EXPECT_THAT(Error("int(4,sym,asym)"), HasSubstr("sym, asym"));
  EXPECT_THAT(Error("int(4,bits=4)"), HasSubstr("bits once"));
  EXPECT_THAT(Error("int(4,sym,sym)"), HasSubstr("sym once"));
  EXPECT_THAT(Error("int(4,depth=2)"), HasSubstr("got depth"));
  EXPECT_THAT(Error("int(4,token,1,nearest,rms,6)"), HasSubstr("got 6"));
  EXPECT_THAT(Error("none(1)"), HasSubstr("expected no argument"));
  EXPECT_THAT(Error("amaq(min=2,max=8)"), HasSubstr("target"));
  EXPECT_THAT(Error("amaq(min=2,max=8,target=4,start=8)"),
              HasSubstr("start: expected a whole number from 4 to 7"));
  EXPECT_THAT(Error("amaq(min=7,max=8,target=7)"), HasSubstr("min"));
}

TEST(Spec, GrammarErrorsNameTheCharacter) {
  EXPECT_THAT(Error(""), HasSubstr("got the end (character 1)"));
  EXPECT_THAT(Error("int8("), HasSubstr("expected an argument, got the end (character 6)"));
  EXPECT_THAT(Error("int(4"), HasSubstr("expected ',' or ')'"));
  EXPECT_THAT(Error("int(4))"), HasSubstr("got ')' (character 7)"));
  EXPECT_THAT(Error("int(bits=)"), HasSubstr("a value after bits="));
  EXPECT_THAT(Error("int8+"), HasSubstr("the name of a codec"));
  EXPECT_THAT(Error("int8+int4"), HasSubstr("expected parts of "));
  EXPECT_THAT(Error("Int8"), HasSubstr("the name of a codec, got 'I'"));
  EXPECT_THAT(Error(std::string(2000, 'a')), HasSubstr("1024"));
}

TEST(Spec, CompositionsThatContradictThemselvesAreRefused) {
  EXPECT_THAT(Error("hadamard"), HasSubstr("expected a format"));
  EXPECT_THAT(Error("hadamard+center+int(4)"), HasSubstr("expected center (transform) before"));
  EXPECT_THAT(Error("hadamard+hadamard+int(4)"), HasSubstr("one hadamard, got two"));
  EXPECT_THAT(Error("int(4)+hadamard"), HasSubstr("behind"));
  EXPECT_THAT(Error("hadamard(block=48)+int(4)"), HasSubstr("power of two"));
  EXPECT_THAT(Error("hadamard(plain,gated)+int(4)"), HasSubstr("one of plain, pivot, gated"));
  EXPECT_THAT(Error("aqsgd(4)+int(4)"), HasSubstr("got aqsgd"));
}

TEST(Spec, BackwardOfOneSpecForBothDirections) {
  EXPECT_EQ(*DefaultBackward("none"), "none");
  EXPECT_EQ(*DefaultBackward("int(3,token)"), "int(3,token)");
  EXPECT_EQ(*DefaultBackward("aqsgd(bits=4)"), "int8");
  EXPECT_EQ(*DefaultBackward("aqsgd(bits=2)"), "int4");
  EXPECT_EQ(*DefaultBackward("amaq(2,8,4)"), "amaq(2,8,4)");
  EXPECT_EQ(*DefaultBackward("tah(bits=3)"), "tah(bits=3)");
  EXPECT_EQ(*DefaultBackward("store+int(4)"), "int8");
  EXPECT_EQ(*DefaultBackward("skip+int(3)"), "int4");
  EXPECT_EQ(*DefaultBackward("splitlite-style(bits=4)"), "int8");
  EXPECT_FALSE(DefaultBackward("zip9").ok());
}

TEST(BitsPerElement, CountsEverythingOnTheWire) {
  EXPECT_DOUBLE_EQ(BitsPerElement(62 + 130, 128), 12.0);
  EXPECT_DOUBLE_EQ(BitsPerElement(0, 0), 0.0);
}

// Ten decibels below the least there is would be no spec.
TEST(Spec, BackwardOfTheCoarsestEcqIsASpec) {
  for (const char* text : {"ecq(db=-20)", "ecq(db=-13)", "ecq(bits=0.05)", "ecq(db=80)"}) {
    const auto codec = Codec::Parse(text);
    ASSERT_TRUE(codec.ok()) << text << ": " << codec.status();
    const auto backward = Codec::Parse((*codec)->BackwardText());
    EXPECT_TRUE(backward.ok()) << text << ": " << backward.status();
  }
}

}  // namespace
}  // namespace isthmus
