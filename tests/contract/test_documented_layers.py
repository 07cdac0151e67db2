"""KerasHub's documented examples of layers and tokenizers, with the outputs that it documents.

The code is KerasHub's (Apache-2.0), with plain lists where it hands on TensorFlow's ragged tensors.
"""

import io

import keras
import numpy as np
import sentencepiece

import clozework as keras_hub


def test_transformer_encoder():
    # Create a single transformer encoder layer.
    encoder = keras_hub.layers.TransformerEncoder(intermediate_dim=64, num_heads=8)

    # Create a simple model containing the encoder.
    inputs = keras.Input(shape=(10, 64))
    output = encoder(inputs)
    model = keras.Model(inputs=inputs, outputs=output)

    # Call encoder on the inputs.
    input_data = np.random.uniform(size=(2, 10, 64))
    assert model(input_data).shape == (2, 10, 64)


def test_token_and_position_embedding():
    inputs = np.ones(shape=(1, 50), dtype="int32")
    embedding_layer = keras_hub.layers.TokenAndPositionEmbedding(
        vocabulary_size=10_000,
        sequence_length=50,
        embedding_dim=128,
    )
    assert embedding_layer(inputs).shape == (1, 50, 128)


def test_position_embedding():
    # Called directly on input.
    layer = keras_hub.layers.PositionEmbedding(sequence_length=10)
    assert layer(np.zeros((8, 10, 16))).shape == (8, 10, 16)

    # Combine with a token embedding.
    seq_length = 50
    vocab_size = 5000
    embed_dim = 128
    inputs = keras.Input(shape=(seq_length,))
    token_embeddings = keras.layers.Embedding(input_dim=vocab_size, output_dim=embed_dim)(inputs)
    position_embeddings = keras_hub.layers.PositionEmbedding(sequence_length=seq_length)(
        token_embeddings
    )
    outputs = token_embeddings + position_embeddings
    assert keras.Model(inputs, outputs)(np.ones((2, 50))).shape == (2, 50, 128)


def test_sine_position_encoding():
    # create a simple embedding layer with sinusoidal positional encoding
    seq_len = 100
    vocab_size = 1000
    embedding_dim = 32
    inputs = keras.Input((seq_len,), dtype="float32")
    embedding = keras.layers.Embedding(input_dim=vocab_size, output_dim=embedding_dim)(inputs)
    positional_encoding = keras_hub.layers.SinePositionEncoding()(embedding)
    outputs = embedding + positional_encoding
    assert keras.Model(inputs, outputs)(np.ones((1, 100))).shape == (1, 100, 32)


def test_reversible_embedding():
    batch_size = 16
    vocab_size = 100
    hidden_dim = 32
    seq_length = 50

    # Generate random inputs.
    token_ids = np.random.randint(vocab_size, size=(batch_size, seq_length))

    embedding = keras_hub.layers.ReversibleEmbedding(vocab_size, hidden_dim)
    # Embed tokens to shape `(batch_size, seq_length, hidden_dim)`.
    hidden_states = embedding(token_ids)
    # Project hidden states to shape `(batch_size, seq_length, vocab_size)`.
    logits = embedding(hidden_states, reverse=True)
    assert logits.shape == (16, 50, 100)


def test_masked_lm_head():
    batch_size = 16
    vocab_size = 100
    hidden_dim = 32
    seq_length = 50

    # Generate random inputs.
    token_ids = np.random.randint(vocab_size, size=(batch_size, seq_length))
    # Choose random positions as the masked inputs.
    mask_positions = np.random.randint(seq_length, size=(batch_size, 5))

    # Embed tokens in a `hidden_dim` feature space.
    token_embedding = keras_hub.layers.ReversibleEmbedding(vocab_size, hidden_dim)
    hidden_states = token_embedding(token_ids)

    preds = keras_hub.layers.MaskedLMHead(
        vocabulary_size=vocab_size,
        token_embedding=token_embedding,
        activation="softmax",
    )(hidden_states, mask_positions)
    assert preds.shape == (16, 5, 100)
    sums = keras.ops.convert_to_numpy(preds).sum(axis=-1)
    np.testing.assert_allclose(sums, np.ones((16, 5)), rtol=1e-5)


def test_masked_lm_mask_generator():
    masker = keras_hub.layers.MaskedLMMaskGenerator(
        vocabulary_size=10,
        mask_selection_rate=0.2,
        mask_token_id=0,
        mask_selection_length=5,
    )
    # Dense input.
    assert masker([1, 2, 3, 4, 5])["mask_positions"].shape == (5,)
    # Ragged input.
    assert masker([[1, 2], [1, 2, 3, 4]])["mask_positions"].shape == (2, 5)


def test_masked_lm_mask_generator_with_special_tokens():
    pad_id, cls_id, sep_id, mask_id = 0, 1, 2, 3
    batch = [
        [cls_id, 4, 5, 6, sep_id, 7, 8, sep_id, pad_id, pad_id],
        [cls_id, 4, 5, sep_id, 6, 7, 8, 9, sep_id, pad_id],
    ]

    masker = keras_hub.layers.MaskedLMMaskGenerator(
        vocabulary_size=10,
        mask_selection_rate=0.2,
        mask_selection_length=5,
        mask_token_id=mask_id,
        unselectable_token_ids=[
            cls_id,
            sep_id,
            pad_id,
        ],
    )
    outputs = masker(batch)
    selected = outputs["mask_ids"][outputs["mask_weights"] == 1]
    assert not set(selected.tolist()) & {cls_id, sep_id, pad_id}


def test_start_end_packer():
    # Unbatched input (int).
    packer = keras_hub.layers.StartEndPacker(sequence_length=7, start_value=1, end_value=2)
    assert packer([5, 6, 7]).tolist() == [1, 5, 6, 7, 2, 0, 0]

    # Batched input (int).
    packer = keras_hub.layers.StartEndPacker(sequence_length=6, start_value=1, end_value=2)
    outputs = packer([[5, 6, 7], [8, 9, 10, 11, 12, 13, 14]])
    assert outputs.tolist() == [[1, 5, 6, 7, 2, 0], [1, 8, 9, 10, 11, 2]]

    # Batched input (str).
    inputs = [["this", "is", "fun"], ["awesome"]]
    packer = keras_hub.layers.StartEndPacker(
        sequence_length=6, start_value="<s>", end_value="</s>", pad_value="<pad>"
    )
    assert packer(inputs) == [
        ["<s>", "this", "is", "fun", "</s>", "<pad>"],
        ["<s>", "awesome", "</s>", "<pad>", "<pad>", "<pad>"],
    ]

    # Multiple start tokens.
    packer = keras_hub.layers.StartEndPacker(
        sequence_length=6, start_value=["</s>", "<s>"], end_value="</s>", pad_value="<pad>"
    )
    assert packer(inputs) == [
        ["</s>", "<s>", "this", "is", "fun", "</s>"],
        ["</s>", "<s>", "awesome", "</s>", "<pad>", "<pad>"],
    ]


def test_multi_segment_packer():
    # Pack a single input for classification.
    seq1 = [1, 2, 3, 4]
    packer = keras_hub.layers.MultiSegmentPacker(sequence_length=8, start_value=101, end_value=102)
    token_ids, segment_ids = packer((seq1,))
    assert token_ids.tolist() == [101, 1, 2, 3, 4, 102, 0, 0]
    assert segment_ids.tolist() == [0, 0, 0, 0, 0, 0, 0, 0]

    # Pack multiple inputs for classification.
    seq2 = [11, 12, 13, 14]
    token_ids, segment_ids = packer((seq1, seq2))
    assert token_ids.tolist() == [101, 1, 2, 3, 102, 11, 12, 102]
    assert segment_ids.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]

    # Pack multiple inputs for classification with different sep tokens.
    packer = keras_hub.layers.MultiSegmentPacker(
        sequence_length=8, start_value=101, end_value=102, sep_value=[102, 102]
    )
    token_ids, segment_ids = packer((seq1, seq2))
    assert token_ids.tolist() == [101, 1, 2, 102, 102, 11, 12, 102]
    assert segment_ids.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]


def test_word_piece_tokenizer():
    # Ragged outputs.
    vocab = ["[UNK]", "the", "qu", "##ick", "br", "##own", "fox", "."]
    inputs = "The quick brown fox."
    tokenizer = keras_hub.tokenizers.WordPieceTokenizer(vocabulary=vocab, lowercase=True)
    np.testing.assert_array_equal(tokenizer(inputs), [1, 2, 3, 4, 5, 6, 7])

    # Dense outputs.
    tokenizer = keras_hub.tokenizers.WordPieceTokenizer(
        vocabulary=vocab, sequence_length=10, lowercase=True
    )
    np.testing.assert_array_equal(tokenizer([inputs]), [[1, 2, 3, 4, 5, 6, 7, 0, 0, 0]])

    # String output.
    tokenizer = keras_hub.tokenizers.WordPieceTokenizer(
        vocabulary=vocab, lowercase=True, dtype="string"
    )
    assert tokenizer(inputs) == ["the", "qu", "##ick", "br", "##own", "fox", "."]

    # Detokenization.
    tokenizer = keras_hub.tokenizers.WordPieceTokenizer(vocabulary=vocab, lowercase=True)
    assert tokenizer.detokenize(tokenizer.tokenize(inputs)) == "the quick brown fox ."


def test_byte_pair_tokenizer():
    # Tokenize
    vocab = {"butter": 1, "fly": 2}
    merge = ["b u", "t t", "e r", "bu tt", "butt er", "f l", "fl y"]
    tokenizer = keras_hub.tokenizers.BytePairTokenizer(vocab, merge)
    assert np.array(tokenizer("butterfly")).tolist() == [1, 2]
    seq1, seq2 = tokenizer(["butterfly", "butter"])
    assert (list(seq1), list(seq2)) == ([1, 2], [1])
    tokenizer = keras_hub.tokenizers.BytePairTokenizer(vocab, merge, sequence_length=2)
    seq1, seq2 = tokenizer(["butterfly", "butter"])
    assert (list(seq1), list(seq2)) == ([1, 2], [1, 0])

    # Detokenize
    tokenizer = keras_hub.tokenizers.BytePairTokenizer(vocab, merge)
    assert tokenizer.detokenize([[1, 2]]) == ["butterfly"]


def test_sentence_piece_tokenizer(tmp_path):
    def train_sentence_piece_bytes(ds, size):
        bytes_io = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(ds), model_writer=bytes_io, vocab_size=size, minloglevel=2
        )
        return bytes_io.getvalue()

    # Train a sentencepiece proto.
    proto = train_sentence_piece_bytes(["the quick brown fox."], 20)
    # Tokenize inputs.
    tokenizer = keras_hub.tokenizers.SentencePieceTokenizer(proto=proto)
    ids = tokenizer(["the quick brown fox."])
    assert tokenizer.detokenize(ids) == ["the quick brown fox."]

    # From a file.
    path = tmp_path / "model.spm"
    path.write_bytes(proto)
    assert keras_hub.tokenizers.SentencePieceTokenizer(proto=str(path))("the") is not None


def test_computed_vocabularies():
    vocab = keras_hub.tokenizers.compute_word_piece_vocabulary(["bat sat pat mat rat"], 13)
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    assert vocab == [*special, "a", "b", "m", "p", "r", "s", "t", "##at"]
    tokenizer = keras_hub.tokenizers.WordPieceTokenizer(vocabulary=vocab, oov_token="[UNK]")
    assert tokenizer(["bat sat pat mat rat"]) == [[6, 12, 10, 12, 8, 12, 7, 12, 9, 12]]

    proto = keras_hub.tokenizers.compute_sentence_piece_proto(["Drifting Along"], 15)
    tokenizer = keras_hub.tokenizers.SentencePieceTokenizer(proto=proto)
    assert tokenizer.detokenize(tokenizer(["Drifting Along"])) == ["Drifting Along"]
